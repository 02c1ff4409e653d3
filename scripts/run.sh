#!/usr/bin/env bash
# The whole way of a photograph on this machine, as `make run` goes it: source, Kafka, storage, Spark.
#   SOURCE        what `superres produce` takes (samples:)
#   SCALE, MODE   2, 3 or 4; evaluate or upscale (as config.yaml says)
#   SPARK_MASTER  a cluster to use instead of one started here
#   FOLLOW=1      stay: what is dropped on a page (or into SOURCE, a folder) comes out sharp, until Ctrl-C
# Arguments go to `superres run`. A broker that runs already stays; one that is started here is stopped.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=kafka_common.sh
source "$(dirname "${BASH_SOURCE[0]}")/kafka_common.sh"
cd "$root"
PATH=$root/.venv/bin:$PATH

what=(${SCALE:+--scale "$SCALE"})
jobs=("${what[@]}" ${SPARK_MASTER:+--master "$SPARK_MASTER"} "$@")
wanted=("${what[@]}" ${MODE:+--mode "$MODE"})

services=()
end() {
  trap '' INT TERM  # a second Ctrl-C must not leave half of them behind
  for pid in "${services[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${services[@]}"; do wait "$pid" || true; done
  [[ -z ${own_broker:-} ]] || scripts/kafka_stop.sh >/dev/null
}
trap end EXIT

if [[ -z ${SUPERRES_KAFKA__BOOTSTRAP_SERVERS:-} ]]; then
  running_pid >/dev/null || own_broker=yes
  echo "Starting Kafka …"
  # Ctrl-C is for us: we end the broker in its turn.
  setsid --wait scripts/kafka_start.sh >/dev/null
  export SUPERRES_KAFKA__BOOTSTRAP_SERVERS=127.0.0.1:${KAFKA_PORT:-9092}
fi

if [[ -z ${FOLLOW:-} ]]; then
  superres ingest "${SOURCE:-samples:}" "${wanted[@]}"
  superres run "${jobs[@]}"
  exit
fi

export SUPERRES_UPLOAD_TOKEN=${SUPERRES_UPLOAD_TOKEN:-$(python -c 'import secrets; print(secrets.token_urlsafe(24))')}
if [[ -n ${SOURCE:-} ]]; then
  if [[ -d $SOURCE ]]; then
    folder_source=$(realpath "$SOURCE")
    export SUPERRES_INGESTION__FILE_ROOTS="['$folder_source']"
  fi
  setsid superres produce "$SOURCE" --follow "${wanted[@]}" 2>>.local/produce.log & services+=($!)
fi
[[ -z ${MODE:-} ]] || export SUPERRES_INGESTION__MODE=$MODE
[[ -z ${SCALE:-} ]] || export SUPERRES_PROCESSING__UPSCALE_FACTOR=$SCALE
setsid superres uploads 2>>.local/uploads.log & services+=($!)
setsid superres consume >/dev/null 2>>.local/consume.log & services+=($!)
echo "Drop photographs on http://127.0.0.1:${SUPERRES_INGESTION__UPLOAD_PORT:-8081}/uploads#token=$SUPERRES_UPLOAD_TOKEN"
superres run --follow "${jobs[@]}" || (( $? == 130 ))
