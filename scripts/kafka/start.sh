#!/usr/bin/env bash
# Starts Apache Kafka (KRaft: no ZooKeeper, no Docker) on 127.0.0.1, creates the topics and waits until
# it serves. Calling it again while it runs only makes sure of the topics. common.sh lists the
# environment variables.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

topics=("${KAFKA_TOPIC:-images-topic}")
topics+=("${KAFKA_DEAD_LETTER_TOPIC:-${topics[0]}-dead-letter}")
iam_region=${KAFKA_IAM_REGION:-${AWS_REGION:-${AWS_DEFAULT_REGION:-eu-central-1}}}
java=${JAVA_HOME:+$JAVA_HOME/bin/}java
key_password=localhost # the key store must have one; its file mode protects it
# Quick to start rather than quick in the long run: this is a broker for one developer's machine.
jvm=("$java" -XX:+UseSerialGC -XX:TieredStopAtLevel=1)
# -Xlog:disable: an archive (below) that does not fit, or leaves something out, is no one's concern.
kafka=("${jvm[@]}" -Xlog:disable -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp "$lib/*")
jar=$lib/superres-kafka.jar # what is compiled here

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
  build=
  [[ ! $text =~ build\ ([0-9A-Za-z.+-]+) ]] || build=${BASH_REMATCH[1]}
}

fetch() {
  local pom=$root/scripts/kafka/pom.xml
  [[ $lib/.fetched -nt $pom ]] && return
  command -v mvn >/dev/null || fail "mvn not found; install Maven (Debian: apt-get install maven)"
  echo "Fetching Apache Kafka (once, 43 MB) …"
  rm -rf "$lib"
  mvn --quiet --batch-mode -Dstyle.color=never -f "$pom" dependency:copy-dependencies ||
    fail "Maven could not fetch Kafka; look above for the reason, then run this again"
  touch "$lib/.fetched"
}

compile() {
  local made
  [[ ! -e $jar || $(find "$root/scripts/kafka" -maxdepth 1 -name '*.java' -newer "$jar") ]] || return 0
  made=$(mktemp -d "$lib/compiling-XXXXXX") # another start may be loading those of before
  # Compiler and packer as modules of the same Java: those on PATH may belong to another one.
  if ! { "$java" -m jdk.compiler/com.sun.tools.javac.Main -cp "$lib"/kafka-clients-*.jar -d "$made" "$root"/scripts/kafka/*.java &&
    "$java" -m jdk.jartool/sun.tools.jar.Main --create --file "$made/made.jar" -C "$made" .; }; then
    rm -r "$made"
    fail "$java cannot compile; install a JDK (Debian: apt-get install openjdk-17-jdk-headless)"
  fi
  mv "$made/made.jar" "$jar"
  rm -rf "$made" "$lib"/*.jsa # which are for the jar of before
}

# The classes that a broker loads, as a JVM has them in memory (dynamic class-data sharing archive, JEP
# 350): with it one starts in less than half the time. A JVM with another class path goes without it.
write_archive() { # PID of a broker that records what it loads
  local made=$archive.$1 said
  said=$("${jvm[@]}" -m jdk.jcmd/sun.tools.jcmd.JCmd "$1" VM.cds dynamic_dump "$made" 2>&1) &&
    said=$(mv "$made" "$archive" 2>&1) ||
    echo "kafka-up: Kafka runs, but the next start will be no faster: ${said##*$'\n'}" >&2
  rm -f "$made"
}

# A certificate of the broker's own, which clients trust by its file. It stays, as clients that run do.
make_certificate() {
  local days=3650 keytool=("${jvm[@]}" -m java.base/sun.security.tools.keytool.Main)
  [[ -s $key_store && -s $certificate && -z $(find "$certificate" -mtime "+$((days - 30))") ]] && return
  local store=(-alias broker -keystore "$key_store" -storepass "$key_password")
  rm -f "$key_store"
  {
    (umask 077 && "${keytool[@]}" -genkeypair "${store[@]}" -storetype PKCS12 -keyalg EC -groupname secp256r1 \
      -validity "$days" -dname CN=localhost -ext SAN=ip:127.0.0.1,dns:localhost -ext eku=serverAuth) &&
      "${keytool[@]}" -exportcert -rfc "${store[@]}" -file "$certificate.new"
  } >"$log" 2>&1 ||
    fail "the certificate $certificate cannot be made; see $log"
  mv "$certificate.new" "$certificate"
}

write_properties() { # PORT CONTROLLER_PORT [IAM_PORT]
  cat >"$properties" <<END
# Written by scripts/kafka/start.sh at each start.
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:$1,CONTROLLER://127.0.0.1:$2${3:+,IAM://127.0.0.1:$3}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT${3:+,IAM:SASL_SSL}
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
  [[ -z ${3:-} ]] || cat >>"$properties" <<END
listener.name.iam.ssl.keystore.type=PKCS12
listener.name.iam.ssl.keystore.location=${key_store##*/}
listener.name.iam.ssl.keystore.password=$key_password
listener.name.iam.sasl.enabled.mechanisms=OAUTHBEARER
listener.name.iam.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;
listener.name.iam.oauthbearer.sasl.server.callback.handler.class=MskIamSignIn
superres.iam.region=$iam_region
# as with MSK, a session ends with its token unless the client signs in again
listener.name.iam.oauthbearer.connections.max.reauth.ms=43200000
END
}

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; } # PORT

start_broker() { # PORT CONTROLLER_PORT [IAM_PORT]; sets pid and recording
  local used deadline=$((SECONDS + 180)) # a busy machine
  for used in "$@"; do
    ! listening "$used" || fail "port $used on 127.0.0.1 is taken by another process; stop that one or" \
      "choose others: KAFKA_PORT=9192 KAFKA_CONTROLLER_PORT=9193 ${3:+KAFKA_IAM_PORT=9198 }make kafka-up"
  done

  cd "$folder"
  [[ $# -lt 3 ]] || make_certificate
  write_properties "$@"
  # Formatting writes this file last.
  if [[ ! -f data/meta.properties ]]; then
    "${kafka[@]}" kafka.tools.StorageTool format -t superres-local-kafka-A -c "$properties" >"$log" 2>&1 ||
      fail "the data folder $data cannot be made; see $log"
  fi
  # For write_archive. A Java without an archive of its own classes would not start with it.
  [[ -e $archive ]] || ! "${jvm[@]}" -XX:+RecordDynamicDumpInfo -version >/dev/null 2>&1 ||
    recording=(-XX:+RecordDynamicDumpInfo)
  nohup "${kafka[@]}" "${recording[@]}" -Xms128m -Xmx"${KAFKA_HEAP:-512m}" -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
    -Dorg.slf4j.simpleLogger.showDateTime=true "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss" \
    kafka.Kafka "$properties" >"$log" 2>&1 </dev/null &
  pid=$!
  echo "$pid" >"$pid_file"

  until listening "$1" && listening "${3:-$1}"; do
    if ! kill -0 "$pid" 2>/dev/null || (( SECONDS > deadline )); then
      echo "kafka-up: Kafka did not come up; the end of $log:" >&2
      tail -n 15 "$log" >&2
      "$root/scripts/kafka/stop.sh" >/dev/null
      exit 1
    fi
    sleep 0.1
  done
}

[[ $iam_region =~ ^[a-z0-9-]+$ ]] || fail "KAFKA_IAM_REGION: $iam_region is no region of AWS, such as eu-central-1"
check_java
# One start at a time, where the system has locks for scripts: tests start several at once.
exec 9<"$root/scripts/kafka/pom.xml"
! command -v flock >/dev/null || flock 9
fetch
compile
exec 9<&-
# For this Java and this jar, since a JVM with another one would go without it for ever.
archive=$lib/kafka-$build-$(date -r "$jar" +%s).jsa
[[ ! -e $archive ]] || kafka+=("-XX:SharedArchiveFile=$archive")
recording=()
if pid=$(running_pid); then
  port=$(sed -n 's/^listeners=PLAINTEXT:[^,]*:\([0-9]*\),.*/\1/p' "$properties")
  iam_port=$(sed -n 's/^listeners=.*,IAM:[^,]*:\([0-9]*\)$/\1/p' "$properties")
  [[ -n $iam_port || -z ${KAFKA_IAM_PORT:-} ]] ||
    fail "Kafka (pid $pid) runs without IAM; stop it first: make kafka-down"
else
  port=${KAFKA_PORT:-9092}
  iam_port=${KAFKA_IAM_PORT:-}
  start_broker "$port" "${KAFKA_CONTROLLER_PORT:-$((port + 1))}" ${iam_port:+"$iam_port"}
fi
complaint=$("${kafka[@]}" Topics "127.0.0.1:$port" "${KAFKA_PARTITIONS:-3}" "${topics[@]}" 2>&1) ||
  fail "Kafka (pid $pid) does not give its topics: $complaint"
[[ -z ${recording[*]} || -e $archive ]] || write_archive "$pid" # another start may have written it
echo "Kafka runs (pid $pid)"
echo "  broker  127.0.0.1:$port"
[[ -z $iam_port ]] || printf '  %-6s  %s\n' iam "127.0.0.1:$iam_port" ca "$certificate"
echo "  topics  ${topics[*]}"
echo "  log     $log"
echo "  data    $data (stays after a stop)"
