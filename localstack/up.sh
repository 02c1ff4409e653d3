#!/usr/bin/env bash
# Starts LocalStack in host mode (no Docker) on 127.0.0.1 and waits until it responds.
# While it runs, calling it again only prints its status.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

if pid=$(running_pid); then
  running=$(<"$folder/port")
  if [[ ${LOCALSTACK_PORT:-$running} != "$running" ]]; then
    echo "local-up: LocalStack (pid $pid) runs on port $running; stop it first: make local-down" >&2
    exit 1
  fi
  report "$pid"
  exit 0
fi
[[ -x $python ]] || { echo "local-up: LocalStack is not installed; run: make localstack-setup" >&2; exit 1; }
if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
  echo "local-up: port $port on 127.0.0.1 is in use by another process; stop that one or choose another port: LOCALSTACK_PORT=4567 make local-up" >&2
  exit 1
fi

mkdir -p "$data"
rm -rf "$emr"/j-* # clusters of an earlier start; installations of their nodes are reused
echo "$port" >"$folder/port"
# The plugin's clusters (plugin/README.md) run on the project's Spark. All settings for this project are
# here: the plugin does not depend on it.
root=$(cd "$here/.." && pwd)
mount=${LOCAL_EMR_MOUNT:-$emr/mnt}
export LOCAL_EMR_FOLDER=$emr LOCAL_EMR_MOUNT=$mount
export LOCAL_EMR_SPARK_CLASSPATH=${LOCAL_EMR_SPARK_CLASSPATH:-$root/scripts/spark/lib/*}
# For short-lived JVMs on a small machine: this compiler and collector start fastest, and faster still
# with the archive of scripts/spark/class_archive.sh; -Xlog:disable hides the warning if it is missing.
java="-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:SharedArchiveFile=$root/scripts/spark/lib/spark.jsa -Xlog:disable"
export LOCAL_EMR_SPARK_JAVA=${LOCAL_EMR_SPARK_JAVA:-$java}
export LOCAL_EMR_NODE_ENV_SUPERRES_MNT=$mount LOCAL_EMR_NODE_ENV_SUPERRES_GPU=no
if [[ -x $root/.venv/bin/python ]]; then
  export LOCAL_EMR_NODE_ENV_SUPERRES_PYTHON=$root/.venv/bin/python
  spark=("$root"/.venv/lib/python3*/site-packages/pyspark)
  [[ ! -d ${spark[0]} ]] || export LOCAL_EMR_SPARK_HOME=${LOCAL_EMR_SPARK_HOME:-${spark[0]}}
fi

# Calls with the credentials of a role are evaluated against its policies; permissions.jsonl in the
# folder has every decision.
export LOCAL_IAM_MODE=${LOCAL_IAM_MODE:-enforce} LOCAL_IAM_REPORT=${LOCAL_IAM_REPORT:-$folder/permissions.jsonl}
rm -f "$LOCAL_IAM_REPORT"

# hypercorn: the default server listens on all interfaces whatever GATEWAY_LISTEN says.
# DNS_ADDRESS=0: no name server on port 53. A user's own profile or endpoint must not affect
# LocalStack's inner clients.
env -u AWS_PROFILE -u AWS_ENDPOINT_URL \
  GATEWAY_LISTEN="127.0.0.1:$port" GATEWAY_SERVER=hypercorn FILESYSTEM_ROOT="$data" \
  EAGER_SERVICE_LOADING=0 SKIP_SSL_CERT_DOWNLOAD=1 DISABLE_EVENTS=1 OVERRIDE_IN_DOCKER=0 DNS_ADDRESS=0 \
  nohup "$python" -P -m localstack.runtime.main >"$log" 2>&1 </dev/null &
pid=$!
echo "$pid" >"$pid_file"

if "$python" "$here/wait_ready.py" "http://127.0.0.1:$port/_localstack/health" "$pid" "${LOCALSTACK_TIMEOUT:-120}"; then
  report "$pid"
else
  echo "local-up: LocalStack did not start; the end of $log:" >&2
  tail -n 15 "$log" >&2
  "$here/down.sh" >/dev/null
  exit 1
fi
