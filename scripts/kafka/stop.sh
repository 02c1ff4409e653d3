#!/usr/bin/env bash
# Stops the broker that start.sh started; topics and messages stay. Does nothing when none runs.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

if ! pid=$(running_pid); then
  rm -f "$pid_file"
  echo "Kafka is not running"
  exit 0
fi
wait_gone() { # SECONDS
  local state
  for _ in $(seq "$(($1 * 10))"); do
    # Its command line is gone before its sockets are; a zombie with threads (l) may have some left.
    state=$(ps -p "$pid" -o stat= || true)
    [[ -n $state && ! $state =~ ^Z[^l]*$ ]] || return 0
    sleep 0.1
  done
  return 1
}
kill -TERM "$pid"
if ! wait_gone 30; then
  # Nothing acknowledged is lost: the next start reads its log files back.
  kill -KILL "$pid"
  wait_gone 10 || { echo "kafka-down: process $pid does not end" >&2; exit 1; }
fi
rm -f "$pid_file"
echo "Kafka stopped (pid $pid)"
