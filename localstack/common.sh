# shellcheck shell=bash disable=SC2034 # the scripts that source this use its variables
# Shared by up.sh, down.sh and status.sh. Sourced, never run.
#   LOCALSTACK_PORT    port on 127.0.0.1 (4566)
#   LOCALSTACK_FOLDER  pid file, log and data (.local/localstack); one folder for each instance,
#                      since LocalStack empties its data folder when it starts
#   LOCALSTACK_STOP_SECONDS  seconds that down.sh waits before it kills LocalStack (10)

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
port=${LOCALSTACK_PORT:-4566}
folder=${LOCALSTACK_FOLDER:-$here/../.local/localstack}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
python=$here/.venv/bin/python
pid_file=$folder/pid
log=$folder/localstack.log
data=$folder/data
emr=${LOCAL_EMR_FOLDER:-$folder/emr} # clusters: logs, scratch space, and the folder that replaces /mnt

# Prints the pid of the instance that up.sh started here; fails if it has ended. After a reboot the pid
# may belong to another process, so the command line must match.
running_pid() {
  local pid command
  [[ -s $pid_file ]] && pid=$(<"$pid_file") && kill -0 "$pid" 2>/dev/null || return 1
  if [[ -r /proc/$pid/cmdline ]]; then
    command=$(tr '\0' ' ' <"/proc/$pid/cmdline")
  else
    command=$(ps -p "$pid" -o command=)
  fi
  [[ $command == *localstack.runtime.main* ]] && echo "$pid"
}

# Succeeds while a process of a cluster is left; each starts in its cluster's folder.
emr_processes() {
  local process
  for process in /proc/[0-9]*; do
    [[ $(readlink "$process/cwd" 2>/dev/null) != "$emr"/* ]] || return 0
  done
  return 1
}

report() { # PID
  echo "LocalStack runs (pid $1)"
  echo "  endpoint  http://127.0.0.1:$(<"$folder/port")"
  echo "  log       $log"
  echo "  data      $data (deleted at a restart)"
}
