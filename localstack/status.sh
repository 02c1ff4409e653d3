#!/usr/bin/env bash
# Prints whether LocalStack runs and where its log and data are; exits 3 if not, as init scripts do.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

if ! pid=$(running_pid); then
  echo "LocalStack does not run; start it with: make local-up"
  exit 3
fi
report "$pid"
"$python" "$here/wait_ready.py" "http://127.0.0.1:$(<"$folder/port")/_localstack/health" "$pid" 5 ||
  { echo "  but it does not respond; restart it: make local-down local-up"; exit 1; }
