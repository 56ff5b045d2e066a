#!/usr/bin/env bash
# Starts a real Kafka below build/run-kafka/NODES and shows the main job on it with `tidegate demo`: on a terminal all of it stays
# up until Ctrl-C, otherwise it ends with the story. NODES=3 starts a cluster.
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
nodes=${NODES:-1}
folder=$here/build/run-kafka/$nodes
program=${TIDEGATE:-${CARGO_TARGET_DIR:-$here/target}/release/tidegate}
trap '"$here/dev/kafka.sh" stop "$folder"' EXIT
mkdir -p "$folder"
TIDEGATE__BROKER__KAFKA__BOOTSTRAP=$("$here/dev/kafka.sh" start "$folder" "$nodes" "${PORT:-9092}")
export TIDEGATE__BROKER__KAFKA__BOOTSTRAP
export TIDEGATE__BROKER__KIND=kafka
export TIDEGATE__SERVER__KEY_FILE=$folder/keys
export TIDEGATE_ADMIN_KEY=${TIDEGATE_ADMIN_KEY:-for-trying-things-out-on-one-machine}
if [ "$nodes" -gt 1 ]; then
  export TIDEGATE__BROKER__KAFKA__REPLICATION=$nodes TIDEGATE__BROKER__KAFKA__MIN_INSYNC=2
fi
echo "Kafka: $TIDEGATE__BROKER__KAFKA__BOOTSTRAP, its data and Tidegate's below $folder"
"$program" demo --data "$folder/data" "$@"
