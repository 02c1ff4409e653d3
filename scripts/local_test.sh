#!/usr/bin/env bash
# Runs the tests of the local cloud beside all others, which the arguments are the command for. A
# deployment mostly waits, for the states that Terraform asks for, and the others make use of that.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

log=$(mktemp)
.venv/bin/python -m pytest tests/local_cloud >"$log" 2>&1 &
cloud=$!
# Whoever stops this stops both; a keeper (tests/support/cleanup_process.py) takes down what was deployed.
trap 'kill "$cloud" 2>/dev/null || true; rm -f "$log"' EXIT
echo "The tests of the local cloud run beside the others; what they say follows at the end."

failed=0
"$@" || failed=1
wait "$cloud" || failed=1
echo "---- tests/local_cloud"
cat "$log"
exit "$failed"
