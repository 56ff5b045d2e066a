#!/usr/bin/env bash
# A real Apache Kafka (KRaft, no ZooKeeper) on loopback, from the jars that `make kafka` brings.
#
#   dev/kafka.sh start FOLDER [NODES] [PORT]   format (once) and start 1 or 3 nodes, wait until they answer
#   dev/kafka.sh stop FOLDER                   stop them, by the process ids in FOLDER
#   dev/kafka.sh format FOLDER PORT:CONTROLLER_PORT...   write the settings of one node per pair, and format
#   dev/kafka.sh run FOLDER NODE               run one node until standard input ends; its id is in FOLDER/NODE/pid
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
jars=${TIDEGATE_KAFKA_JARS:-$here/build/kafka}
java_options=${KAFKA_JAVA_OPTIONS:--Xms64m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1}

die() { echo "$*" >&2; exit 1; }
command -v java >/dev/null || die "java is missing: apt-get install default-jdk-headless"
ls "$jars"/kafka_2.13-*.jar >/dev/null 2>&1 || die "the jars of Kafka are not in $jars: make kafka"

java_of() { # java_of CLASS ARGUMENTS...
  # shellcheck disable=SC2086
  exec java $java_options -Dlog4j2.configurationFile="$here/dev/kafka/log4j2.properties" -cp "$jars/*" "$@"
}

format() { # format FOLDER PORT:CONTROLLER_PORT..., with KAFKA_FORMAT_OPTIONS (users for SCRAM: --add-scram ...)
  local folder=$1 node=0 voters="" id pair count options=()
  shift
  read -ra options <<<"${KAFKA_FORMAT_OPTIONS:-}"
  count=$#
  for pair in "$@"; do
    node=$((node + 1))
    voters+=${voters:+,}$node@127.0.0.1:${pair#*:}
  done
  mkdir -p "$folder"
  id=$(head -c 16 /dev/urandom | base64 | tr '+/' 'ab' | tr -d '=')
  node=0
  for pair in "$@"; do
    node=$((node + 1))
    mkdir -p "$folder/$node"
    cat > "$folder/$node/server.properties" <<SETTINGS
process.roles=broker,controller
node.id=$node
controller.quorum.voters=$voters
listeners=PLAINTEXT://127.0.0.1:${pair%:*},CONTROLLER://127.0.0.1:${pair#*:}
advertised.listeners=PLAINTEXT://127.0.0.1:${pair%:*}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$folder/$node/log
auto.create.topics.enable=false
offsets.topic.replication.factor=$count
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=$count
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
controller.quorum.election.timeout.ms=3000
controller.quorum.fetch.timeout.ms=6000
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=8388608
SETTINGS
    (java_of kafka.tools.StorageTool format -t "$id" -c "$folder/$node/server.properties" "${options[@]}" >/dev/null)
  done
}

run() { # run FOLDER NODE
  local folder=$1 node=$2 pid
  java_of kafka.Kafka "$folder/$node/server.properties" >> "$folder/$node/printed.txt" 2>&1 < /dev/null &
  pid=$!
  echo "$pid" > "$folder/$node/pid"
  # Whoever started this holds the other end of standard input: when that is gone, so is the node.
  cat > /dev/null || true
  kill -9 "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  # A test's folder goes when the test's process has ended without removing it; a node that is killed keeps its log.
  if [ -e "$folder/temporary" ] && ! kill -0 "$PPID" 2>/dev/null; then rm -rf "$folder"; fi
}

answers() { # answers PORT
  (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

start() { # start FOLDER [NODES] [PORT]
  local folder=$1 nodes=${2:-1} port=${3:-9092} pairs=() node bootstrap="" tries
  for ((node = 1; node <= nodes; node++)); do
    pairs+=("$((port + 10 * (node - 1))):$((port + 10 * (node - 1) + 1))")
  done
  mkdir -p "$folder"
  folder=$(cd "$folder" && pwd)
  [ -e "$folder/1/server.properties" ] || format "$folder" "${pairs[@]}"
  local otherwise="$folder was formatted for other nodes or ports: remove it, or start it as before"
  [ ! -e "$folder/$((nodes + 1))" ] || die "$otherwise"
  for ((node = 1; node <= nodes; node++)); do
    grep -qs "127.0.0.1:${pairs[node - 1]%:*}" "$folder/$node/server.properties" || die "$otherwise"
  done
  for ((node = 1; node <= nodes; node++)); do
    (java_of kafka.Kafka "$folder/$node/server.properties" >> "$folder/$node/printed.txt" 2>&1 < /dev/null) &
    echo $! > "$folder/$node/pid"
    disown
  done
  for ((node = 1; node <= nodes; node++)); do
    for ((tries = 0; ; tries++)); do
      answers "$((port + 10 * (node - 1)))" && break
      [ "$tries" -lt 600 ] || die "node $node does not answer; see $folder/$node/printed.txt"
      sleep 0.2
    done
    bootstrap+=${bootstrap:+,}127.0.0.1:$((port + 10 * (node - 1)))
  done
  echo "$bootstrap"
}

stop() { # stop FOLDER
  local pid
  for pid in "$1"/*/pid; do
    [ -e "$pid" ] || continue
    kill "$(cat "$pid")" 2>/dev/null || true
    rm -f "$pid"
  done
}

case "${1:-}" in
  start | stop | run | format) command=$1; shift; "$command" "$@" ;;
  *) sed -n '2,8p' "$0" >&2; exit 2 ;;
esac
