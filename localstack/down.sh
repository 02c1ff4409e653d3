#!/usr/bin/env bash
# Stops the LocalStack that up.sh started; does nothing when none runs.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

clean_up() { # processes of clusters notice that LocalStack has ended, and have some seconds to end
  local tries=150
  while emr_processes; do
    (( tries-- > 0 )) || { echo "local-down: a process of a cluster below $emr does not end" >&2; exit 1; }
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
# LocalStack often hangs on SIGTERM; its data does not outlive a restart anyway.
wait_for_end() { # SECONDS
  local state
  for _ in $(seq "$(($1 * 10))"); do
    # Its command line vanishes before its sockets do; a zombie with threads (l) may still have some.
    state=$(ps -p "$pid" -o stat= || true)
    [[ -n $state && ! $state =~ ^Z[^l]*$ ]] || return 0
    sleep 0.1
  done
  return 1
}
if ! wait_for_end "${LOCALSTACK_STOP_SECONDS:-10}"; then
  kill -KILL "$pid"
  wait_for_end 10 || { echo "local-down: process $pid does not end" >&2; exit 1; }
fi
clean_up
echo "LocalStack stopped (pid $pid)"
