#!/usr/bin/env bash
# Stops the LocalStack that up.sh started; does nothing when none runs.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

clean_up() { # what clusters ran sees that LocalStack is gone, and has a few seconds to end
  local left=150
  while emr_processes; do
    (( left-- > 0 )) || { echo "local-down: something that a cluster ran does not end, below $emr" >&2; exit 1; }
    sleep 0.1
  done
  rm -rf "$emr"/j-* "$data"
  rm -f "$pid_file"
}

if ! pid=$(running_pid); then
  clean_up
  echo "LocalStack does not run"
  exit 0
fi
kill -TERM "$pid"
# LocalStack often hangs on SIGTERM; nothing of it outlives a restart anyway.
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
if ! wait_gone "${LOCALSTACK_STOP_SECONDS:-10}"; then
  kill -KILL "$pid"
  wait_gone 10 || { echo "local-down: process $pid does not end" >&2; exit 1; }
fi
clean_up
echo "LocalStack stopped (pid $pid)"
