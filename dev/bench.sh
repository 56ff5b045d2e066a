#!/usr/bin/env bash
# Every benchmark, in release, one after the other: prints figures, judges none. `bench/RESULTS.md` explains them.
# In: TIDEGATE_LIBCHDB (the engine; `make engine`), BENCH_DIR (a folder on the disk to measure, default `build/bench`).
set -euo pipefail
cd "$(dirname "$0")/.."

command -v wrk >/dev/null || { echo "wrk is missing, it makes the load: apt-get install wrk" >&2; exit 1; }
export TIDEGATE_LIBCHDB="${TIDEGATE_LIBCHDB:-$PWD/build/chdb/libchdb.so}"
[ -e "$TIDEGATE_LIBCHDB" ] || { echo "the engine is missing: make engine" >&2; exit 1; }
disk="${BENCH_DIR:-build/bench}"
rm -rf "$disk"
mkdir -p "$disk"

cargo build --release --package tidegate --package tidegate-chdb --package tidegate-bench
programs="${CARGO_TARGET_DIR:-target}/release"

echo "commit $(git rev-parse --short HEAD), $(date -u +%FT%TZ)"
echo "$(nproc) cores of $(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -1), Linux $(uname -r), load $(cut -d' ' -f1-3 /proc/loadavg)"

measure() {
  printf '\n## %s\n' "$*"
  local program=$1
  shift
  "$programs/$program" "$@"
}
measure accept "$disk"
measure json
measure processor
measure floods "${BENCH_OBJECTS:-10000000}"
measure registry
measure audit
mkdir "$disk/broker"
measure broker "$disk/broker" 200000
measure whole 50000 0 "$disk"

ls build/kafka/kafka_2.13-*.jar >/dev/null 2>&1 || { echo "Kafka's jars are missing: make kafka" >&2; exit 1; }
measure kafka accept "$disk"
measure whole kafka 50000 0 "$disk"
measure kafka scale "$disk"
measure kafka pause "$disk"
measure kafka rebuild "$disk"
measure kafka objects "$disk" "${BENCH_OBJECTS:-10000000}"
