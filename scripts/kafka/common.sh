# shellcheck shell=bash disable=SC2034 # the scripts that source this use its variables
# What start.sh and stop.sh share. Sourced, never run.
#   KAFKA_PORT             port of the broker on 127.0.0.1 (9092)
#   KAFKA_CONTROLLER_PORT  port of its KRaft controller on 127.0.0.1 (KAFKA_PORT + 1)
#   KAFKA_IAM_PORT         a second port on 127.0.0.1, for clients that sign in as to Amazon MSK with IAM
#                          (none); they trust ca.pem of KAFKA_DATA_DIR
#   KAFKA_IAM_REGION       the region whose tokens it takes (AWS_REGION, AWS_DEFAULT_REGION, eu-central-1)
#   KAFKA_DATA_DIR         data, server.properties, broker.log and broker.pid (.local/kafka)
#   KAFKA_HEAP             memory of its JVM (512m)
#   KAFKA_TOPIC, KAFKA_DEAD_LETTER_TOPIC, KAFKA_PARTITIONS  what it has (images-topic,
#                          images-topic-dead-letter, 3 partitions each)

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
lib=$root/scripts/kafka/lib
folder=${KAFKA_DATA_DIR:-$root/.local/kafka}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
properties=$folder/server.properties
data=$folder/data
certificate=$folder/ca.pem
key_store=$folder/key.p12
log=$folder/broker.log
pid_file=$folder/broker.pid

# Prints the pid of the broker that start.sh started here; fails when it is gone. A pid file may
# outlive a reboot and the number belong to someone else by then, so the command line must fit.
running_pid() {
  local pid command
  [[ -s $pid_file ]] && pid=$(<"$pid_file") && [[ $pid =~ ^[0-9]+$ ]] && kill -0 "$pid" 2>/dev/null || return 1
  if [[ -r /proc/$pid/cmdline ]]; then
    command=$(tr '\0' ' ' <"/proc/$pid/cmdline")
  else
    command=$(ps -p "$pid" -o command=)
  fi
  [[ $command == *"kafka.Kafka $properties"* ]] && echo "$pid"
}
