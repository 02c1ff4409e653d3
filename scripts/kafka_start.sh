#!/usr/bin/env bash
# Starts Apache Kafka (KRaft: no ZooKeeper, no Docker) on 127.0.0.1, creates the topics and waits until
# it serves. Calling it again while it runs only makes sure of the topics. kafka_common.sh lists the
# environment variables.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=kafka_common.sh
source "$(dirname "${BASH_SOURCE[0]}")/kafka_common.sh"

topics=("${KAFKA_TOPIC:-images-topic}")
topics+=("${KAFKA_DEAD_LETTER_TOPIC:-${topics[0]}-dead-letter}")
java=${JAVA_HOME:+$JAVA_HOME/bin/}java
# Quick to start rather than quick in the long run: this is a broker for one developer's machine.
kafka=("$java" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dorg.slf4j.simpleLogger.defaultLogLevel=error
  -cp "$lib:$lib/*")

fail() {
  echo "kafka-up: $*" >&2
  exit 1
}

check_java() {
  local remedy="Debian: apt-get install openjdk-17-jdk-headless; or point JAVA_HOME at a Java 17" text
  if ! text=$("$java" -version 2>&1) || ! [[ $text =~ version\ \"([0-9]+) ]]; then
    fail "no Java found ($java); $remedy"
  fi
  (( BASH_REMATCH[1] >= 17 )) || fail "Kafka needs Java 17 and $java is Java ${BASH_REMATCH[1]}; $remedy"
}

fetch() {
  local pom=$root/kafka/pom.xml program=$root/kafka/Topics.java
  [[ $lib/.fetched -nt $pom && $lib/.fetched -nt $program ]] && return
  command -v mvn >/dev/null || fail "mvn not found; install Maven (Debian: apt-get install maven)"
  echo "Fetching Apache Kafka (once, 43 MB) …"
  rm -rf "$lib"
  mvn --quiet --batch-mode -Dstyle.color=never -f "$pom" dependency:copy-dependencies ||
    fail "Maven could not fetch Kafka; look above for the reason, then run this again"
  # The compiler as a module of the same Java: a javac on PATH may belong to another one.
  "$java" -m jdk.compiler/com.sun.tools.javac.Main -cp "$lib"/kafka-clients-*.jar -d "$lib" "$program" ||
    fail "$java cannot compile; install a JDK (Debian: apt-get install openjdk-17-jdk-headless)"
  touch "$lib/.fetched"
}

write_properties() { # PORT CONTROLLER_PORT
  cat >"$properties" <<END
# Written by scripts/kafka_start.sh at each start.
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:$1,CONTROLLER://127.0.0.1:$2
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
# here rather than written into the data, so that the port may be another one next time
controller.quorum.voters=1@127.0.0.1:$2
# relative to the folder it starts in, since Kafka takes a comma in a path for the end of it
log.dirs=data
# a misspelt topic is an error
auto.create.topics.enable=false
# one node holds one copy
default.replication.factor=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# 50 each by default: files for nothing
offsets.topic.num.partitions=3
transaction.state.log.num.partitions=3
# a consumer group begins at once instead of waiting three seconds for more members
group.initial.rebalance.delay.ms=0
# after kill -9 the controller takes the broker back once the old one's session, nine seconds, is over
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
END
}

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; } # PORT

start_broker() { # PORT CONTROLLER_PORT; sets pid
  local used deadline=$((SECONDS + 60))
  for used in "$@"; do
    ! listening "$used" || fail "port $used on 127.0.0.1 is taken by another process; stop that one or" \
      "choose others: KAFKA_PORT=9192 KAFKA_CONTROLLER_PORT=9193 make kafka-up"
  done

  cd "$folder"
  write_properties "$@"
  # Formatting writes this file last.
  if [[ ! -f data/meta.properties ]]; then
    "${kafka[@]}" kafka.tools.StorageTool format -t superres-local-kafka-A -c "$properties" >"$log" 2>&1 ||
      fail "the data folder $data cannot be made; see $log"
  fi
  nohup "${kafka[@]}" -Xms128m -Xmx"${KAFKA_HEAP:-512m}" -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
    -Dorg.slf4j.simpleLogger.showDateTime=true "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss" \
    kafka.Kafka "$properties" >"$log" 2>&1 </dev/null &
  pid=$!
  echo "$pid" >"$pid_file"

  until listening "$1"; do
    if ! kill -0 "$pid" 2>/dev/null || (( SECONDS > deadline )); then
      echo "kafka-up: Kafka did not come up; the end of $log:" >&2
      tail -n 15 "$log" >&2
      "$root/scripts/kafka_stop.sh" >/dev/null
      exit 1
    fi
    sleep 0.1
  done
}

check_java
fetch
if pid=$(running_pid); then
  port=$(sed -n 's/^listeners=PLAINTEXT:[^,]*:\([0-9]*\),.*/\1/p' "$properties")
else
  port=${KAFKA_PORT:-9092}
  start_broker "$port" "${KAFKA_CONTROLLER_PORT:-$((port + 1))}"
fi
complaint=$("${kafka[@]}" Topics "127.0.0.1:$port" "${KAFKA_PARTITIONS:-3}" "${topics[@]}" 2>&1) ||
  fail "Kafka (pid $pid) does not give its topics: $complaint"
echo "Kafka runs (pid $pid)"
echo "  broker  127.0.0.1:$port"
echo "  topics  ${topics[*]}"
echo "  log     $log"
echo "  data    $data (stays after a stop)"
