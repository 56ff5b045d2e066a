#!/usr/bin/env bash
# Starts a real Kafka below build/run-kafka and the whole of Tidegate on it; both end with Ctrl-C.
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
folder=$here/build/run-kafka
trap '"$here/dev/kafka.sh" stop "$folder"' EXIT
mkdir -p "$folder"
TIDEGATE__BROKER__KAFKA__BOOTSTRAP=$("$here/dev/kafka.sh" start "$folder" "${NODES:-1}")
export TIDEGATE__BROKER__KAFKA__BOOTSTRAP
export TIDEGATE__BROKER__KIND=kafka
export TIDEGATE__SERVER__KEY_FILE=$folder/keys
export TIDEGATE_ADMIN_KEY=${TIDEGATE_ADMIN_KEY:-for-trying-things-out-on-one-machine}
export TIDEGATE__EGRESS__ALLOW='["127.0.0.0/8"]'
echo "Kafka: $TIDEGATE__BROKER__KAFKA__BOOTSTRAP. Beside this: tidegate apply -f docs/tidegate.yaml --data $folder/data"
"$here/${TIDEGATE:-target/release/tidegate}" serve --data "$folder/data"
