#!/usr/bin/env bash
# The whole way of a photograph on this machine, as `make run` goes it: source, Kafka, storage, Spark,
# and the gallery, which stays until Ctrl-C.
#   SOURCE        what `superres produce` takes (samples:)
#   SCALE, MODE   2, 3 or 4; evaluate or upscale (as config.yaml says)
#   SPARK_MASTER  a cluster to use instead of one started here
#   SERVE=no      (or CI=true) check that the gallery shows the results, then end
#   FOLLOW=1      stay: what is dropped on a page (or into SOURCE, a folder) comes out sharp, until Ctrl-C
# Arguments go to `superres run`. A broker that runs already stays; one that is started here is stopped.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=kafka/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/kafka/common.sh"
cd "$root"
PATH=$root/.venv/bin:$PATH

[[ ${CI:-} == true ]] && SERVE=no
[[ ${SOURCE:-} != \~/* ]] || SOURCE=$HOME${SOURCE#\~} # not every shell expands it for make
what=(${SCALE:+--scale "$SCALE"})
jobs=("${what[@]}" ${SPARK_MASTER:+--master "$SPARK_MASTER"} "$@")
wanted=("${what[@]}" ${MODE:+--mode "$MODE"})

services=()
end() {
  trap '' INT TERM HUP # a second Ctrl-C must not leave half of them behind
  for pid in "${services[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${services[@]}"; do wait "$pid" 2>/dev/null || true; done
  [[ -z ${own_broker:-} ]] || scripts/kafka/stop.sh >/dev/null
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

serve() { # NAME COMMAND…: runs it beside us until the end; its log is .local/NAME.log
  local log=$root/.local/$1.log
  shift
  : >"$log" # now: what is read from it must not be of the run before
  # In a session of its own: Ctrl-C is for us, and we end it in its turn.
  setsid "$@" >"$log" 2>&1 &
  services+=($!)
}

await() { # COMMAND…: in the foreground a signal would reach us only after the command's end
  local status=0
  "$@" <&0 &
  services+=($!)
  wait $! || status=$?
  unset 'services[-1]' # it has ended, and is none of those that must not
  return "$status"
}

check() { # ends us when a service has ended, with its last words
  for pid in "${services[@]}"; do
    kill -0 "$pid" 2>/dev/null || wait "$pid" || { tail -qn 1 .local/{produce,consume,uploads,notify}.log >&2 2>/dev/null; exit 1; }
  done
}

gallery() { # starts the notifier; sets $notifier and $address
  local port=${SUPERRES_NOTIFIER__PORT:-8080}
  # Taken by another run that still serves, say.
  if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then port=0; fi
  serve notify superres notify --host 127.0.0.1 --port "$port"
  notifier=$!
  until address=$(grep -om1 'http://127[0-9.:]*' .local/notify.log); do
    check
    sleep 0.2
  done
}

if [[ -z ${SUPERRES_KAFKA__BOOTSTRAP_SERVERS:-} ]]; then
  running_pid >/dev/null || own_broker=yes
  echo "Starting Kafka …"
  SUPERRES_KAFKA__BOOTSTRAP_SERVERS=$(setsid --wait bash -o pipefail -c \
    "scripts/kafka/start.sh | sed -n 's/^ *broker *//p'")
  export SUPERRES_KAFKA__BOOTSTRAP_SERVERS
fi

if [[ -z ${FOLLOW:-} ]]; then
  await superres ingest "${SOURCE:-samples:}" "${wanted[@]}" && status=0 || status=$?
  case $status in
    0) rejected=0 ;;
    3) rejected=1 ;; # some images were left out, and the others are waiting
    *) exit "$status" ;;
  esac
  gallery
  echo "Gallery               $address (it shows each image as it is finished)"
  await superres run "${jobs[@]}"
  if [[ ${SERVE:-yes} == no ]]; then
    await python scripts/check_gallery.py "$address"
    exit "$rejected"
  fi
  echo "Gallery               $address (Ctrl-C ends it)"
  trap 'exit "$rejected"' INT # all is done: it is no failure
  wait "$notifier"
  exit
fi

export SUPERRES_UPLOAD_TOKEN=${SUPERRES_UPLOAD_TOKEN:-$(python -c 'import secrets; print(secrets.token_urlsafe(24))')}
page=127.0.0.1:${SUPERRES_INGESTION__UPLOAD_PORT:-8081}
[[ -z ${MODE:-} ]] || export SUPERRES_INGESTION__MODE=$MODE
[[ -z ${SCALE:-} ]] || export SUPERRES_PROCESSING__UPSCALE_FACTOR=$SCALE
if [[ -e ${SOURCE:-} ]]; then
  SUPERRES_INGESTION__FILE_ROOTS=$(python -c 'import json, os, sys; print(json.dumps([os.path.realpath(sys.argv[1])]))' "$SOURCE")
  export SUPERRES_INGESTION__FILE_ROOTS
fi
# Their server is on this machine, which otherwise nobody may be sent to.
[[ ${SOURCE:-} != samples: ]] || export SUPERRES_INGESTION__ALLOWED_HOSTS='["127.0.0.1"]'
[[ -z ${SOURCE:-} ]] || serve produce superres produce "$SOURCE" --follow "${wanted[@]}"
serve consume superres consume
serve uploads superres uploads --port "${page##*:}"
until (exec 3<>"/dev/tcp/${page/://}") 2>/dev/null; do
  check
  sleep 0.2
done
SUPERRES_NOTIFIER__UPLOADS_URL=http://$page/uploads gallery
echo "Logs of the services  $root/.local/{produce,consume,uploads,notify}.log"
echo "Gallery               $address"
echo "Drop photographs on   http://$page/uploads#token=$SUPERRES_UPLOAD_TOKEN"
await superres run --follow "${jobs[@]}"
