#!/usr/bin/env bash
# Runs the tests of the local cloud in parallel with all others (the arguments are their command):
# a deployment mostly waits, for the states that Terraform polls, and the others use that time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

log=$(mktemp)
.venv/bin/python -m pytest tests/local_cloud >"$log" 2>&1 &
cloud=$!
# Stopping this stops both; tests/support/cleanup_process.py then removes what was deployed.
trap 'kill "$cloud" 2>/dev/null || true; rm -f "$log"' EXIT
echo "The tests of the local cloud run in parallel; their output follows at the end."

failed=0
"$@" || failed=1
wait "$cloud" || failed=1
echo "---- tests/local_cloud"
cat "$log"
exit "$failed"
