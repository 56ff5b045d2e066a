#!/usr/bin/env bash
# Fuzzes the provider engine: each target of `providers/fuzz` for a while, with libFuzzer and the address sanitizer. A finding ends
# it with an error and names the input, which stays in `providers/fuzz/artifacts`.
# In: targets (default: all), FUZZ_SECONDS (for each, default 60). The stable compiler does, told to take unstable flags.
set -euo pipefail
cd "$(dirname "$0")/../providers"

command -v cargo-fuzz >/dev/null || { echo "cargo-fuzz is missing: cargo install cargo-fuzz --locked" >&2; exit 1; }
command -v c++ >/dev/null || { echo "a C++ compiler is missing, libFuzzer is built with it: apt-get install g++" >&2; exit 1; }
export RUSTC_BOOTSTRAP=1
export CARGO_TARGET_DIR="${FUZZ_TARGET_DIR:-$PWD/fuzz/target}"
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cargo fuzz list)

for target in "${targets[@]}"; do
  printf '\n## %s\n' "$target"
  cargo fuzz run "$target" -- -max_total_time="${FUZZ_SECONDS:-60}" -max_len=4096 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
done
