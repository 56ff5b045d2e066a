#!/usr/bin/env bash
# The full counts of kills and outages, and what came of them into bench/RESULTS.md, section "Chaos", with commit and
# date. Fewer: LOG_KILLS=50 SERVER_KILLS=20 ROUNDS=2 CLUSTER_ROUNDS=2 AWAY_S=10 dev/chaos.sh. The counts that ran are the
# ones that are written down. Progress goes to standard output.
set -euo pipefail
cd "$(dirname "$0")/.."

log_kills="${LOG_KILLS:-500}"
server_kills="${SERVER_KILLS:-200}"
losses="${LOSSES:-2000}"
rounds="${ROUNDS:-5}"
steps="${STEPS:-100000000}"
burst="${BURST:-1000000}"
cluster_rounds="${CLUSTER_ROUNDS:-20}"
export TIDEGATE_CHAOS_AWAY_S="${AWAY_S:-60}"
results=bench/RESULTS.md
out="$(mktemp)"
entry="$(mktemp)"
trap 'rm -f "$out" "$entry"' EXIT

commit="$(git rev-parse --short HEAD)"
git diff --quiet HEAD || commit="$commit, changed"
verdict=passed

# part WHAT COUNT PACKAGE BINARY TEST: one test with its count; its last line of counts and its time go into the table
part() {
  local what=$1 count=$2 result=passed counted took
  echo "== $what: $count"
  : >"$out"
  if ! TIDEGATE_CHAOS_KILLS="$count" TIDEGATE_CHAOS_ROUNDS="$count" TIDEGATE_CHAOS_EVENTS="$count" \
    cargo test --quiet --package "$3" --test "$4" -- --exact "$5" --nocapture 2>&1 | tee "$out"; then
    result=FAILED
    verdict=FAILED
  fi
  # A name that fits no test passes too.
  grep -q '^test result: ok. 1 passed' "$out" || { result=FAILED verdict=FAILED; }
  counted="$(sed -n 's/^.*counted: //p' "$out" | tail -1)"
  took="$(sed -n 's/^test result: .* finished in //p' "$out" | tail -1)"
  echo "| $what | $count | $result | ${counted:-–} | ${took:-–} |" >>"$entry"
}

# simulated WHAT COUNT TEST: the same for a test of the processor's simulation, optimised, with its count of steps
simulated() {
  local what=$1 count=$2 result=passed counted took
  echo "== $what: $count"
  : >"$out"
  if ! TIDEGATE_SIMULATION_STEPS="$count" cargo test --release --quiet --package tidegate-processor --lib -- \
    --exact "tests::simulation::$3" --nocapture 2>&1 | tee "$out"; then
    result=FAILED
    verdict=FAILED
  fi
  grep -q '^test result: ok. 1 passed' "$out" || { result=FAILED verdict=FAILED; }
  counted="$(sed -n 's/^.*counted: //p' "$out" | tail -1)"
  took="$(sed -n 's/^test result: .* finished in //p' "$out" | tail -1)"
  echo "| $what | $count | $result | ${counted:-–} | ${took:-–} |" >>"$entry"
}

part "kill -9 of the log's process" "$log_kills" tidegate-broker kill every_acknowledged_message_survives_kill_9
part "power lost, in memory" "$losses" tidegate-broker power_loss every_acknowledged_message_survives
part "an import burst on a thousand objects, killed twice: events" "$burst" \
  tidegate e2e floods::an_import_burst_comes_to_one_delivery_for_each_object_and_window
part "the same on Kafka" "$burst" tidegate e2e floods::an_import_burst_comes_to_the_same_on_kafka
simulated "floods, simulated: steps" "$steps" simulated_floods_keep_every_promise
simulated "eight rules of flood control broken on purpose" 40000 the_oracle_finds_what_is_broken_on_purpose
simulated "fairness, simulated, and switched off on purpose" 1 fairness::simulated_flooders_delay_only_themselves
part "kill -9 of the whole server" "$server_kills" \
  tidegate chaos kills::what_was_answered_with_2xx_survives_kill_9_of_the_server
part "ClickHouse: kill -9, SIGTERM, a pause, a hang" "$rounds" \
  tidegate chaos engine::an_engine_that_is_killed_or_stopped_costs_no_row_and_doubles_none
part "full disk" "$rounds" tidegate chaos full_disk::a_full_disk_is_answered_503_loses_nothing_and_is_survived
part "three Kafka nodes: one, all (${TIDEGATE_CHAOS_AWAY_S} s), a processor, a forwarder, mid-rebalance, a spilling ingest" "$cluster_rounds" \
  tidegate chaos cluster::what_was_answered_with_2xx_is_delivered_over_three_nodes_whoever_is_killed
part "a slow and a dead endpoint" 1 tidegate chaos endpoints::a_slow_endpoint_and_a_dead_one_hold_up_nobody

[ -f "$results" ] || printf '# What was measured\n' >"$results"
grep -q '^## Chaos$' "$results" ||
  printf '\n## Chaos\n\nWhat `make chaos` found, the newest first. Every count is after all had come out.\n' >>"$results"

{
  echo
  echo "### $(date -u +%Y-%m-%d), commit $commit: $verdict"
  echo
  echo "$(nproc) cores, $(uname -sr), load $(cut -d' ' -f1-3 /proc/loadavg). Building is not counted."
  echo
  echo "| What | Times | Result | Counted | Took |"
  echo "|---|---|---|---|---|"
  cat "$entry"
} >"$out"

# Behind the section's first paragraph.
awk -v entry="$out" '
  { print }
  $0 == "## Chaos" { inside = 1 }
  inside && /^What `make chaos`/ { while ((getline line < entry) > 0) print line; inside = 0 }
' "$results" >"$results.new"
mv "$results.new" "$results"
echo "$verdict: see $results"
[ "$verdict" = passed ]
