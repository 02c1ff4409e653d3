#!/usr/bin/env bash
# Runs the broker until SIGTERM, then stops it; one that ran before stays. common.sh lists the
# environment variables. For a supervisor: `make kafka-up` is the command for people.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

own=yes
! running_pid >/dev/null || own=
waiting=
end() {
  [[ -z $waiting ]] || kill "$waiting" 2>/dev/null || true
  # Why it did not start stands last in the log.
  [[ -z $own ]] || "$root/scripts/kafka/stop.sh" >/dev/null
}
trap end EXIT
trap 'exit 0' TERM INT HUP

# In the background, since bash handles a signal only after a command in the foreground.
"$root/scripts/kafka/start.sh" &
waiting=$!
wait "$waiting"
while :; do
  sleep 3600 &
  waiting=$!
  wait "$waiting"
done
