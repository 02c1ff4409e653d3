#!/usr/bin/env bash
# Installs a service of superres on Amazon Linux 2023 and starts it. This script is the user data of an
# instance, after lines that export:
#   SUPERRES_UNITS       units to run: some of consume, uploads and start-runs, or notify
#   SUPERRES_WHEEL, SUPERRES_WHEELHOUSE, SUPERRES_CONFIG   S3 URIs of the release's parts
#   SUPERRES_…_SHA256    the digest of each
#   SUPERRES_LOG_GROUP   log group of CloudWatch for the units' journals; unset: they stay on the instance
#   SUPERRES_SECRETS     UNIT:VARIABLE=SECRET[#KEY] …: environment variables of a unit
#   SUPERRES_{SECTION}__{KEY}, AWS_DEFAULT_REGION   settings of the units
# With SUPERRES_ROOT=/some/folder it installs below that folder, without systemd, and prints the command
# that starts each unit. Running it again does only what is missing.
set -euo pipefail
umask 022

root=${SUPERRES_ROOT:-}
[[ -z $root ]] || { mkdir -p "$root" && root=$(cd "$root" && pwd); }
home=$root/opt/superres
python=${SUPERRES_PYTHON:-python3.11}

fail() {
  echo "superres install: $*" >&2
  exit 1
}

check() {
  local name
  for name in UNITS WHEEL WHEEL_SHA256 WHEELHOUSE WHEELHOUSE_SHA256 CONFIG CONFIG_SHA256; do
    name=SUPERRES_$name
    [[ -n ${!name:-} ]] || fail "$name is not set; see the head of infra/services/install.sh"
  done
  for name in $SUPERRES_UNITS; do
    [[ $name =~ ^(consume|uploads|start-runs|notify)$ ]] || fail "SUPERRES_UNITS: there is no unit $name; there are consume, uploads, start-runs and notify"
  done
  [[ -n $root || $EUID -eq 0 ]] || fail "only root can install below /; or set SUPERRES_ROOT to a folder"
  if [[ -z $root ]] && ! command -v "$python" >/dev/null; then
    # From Amazon's own repository, which is in S3.
    dnf install -y -q "$python" tar || fail "dnf cannot install $python"
  fi
  command -v "$python" >/dev/null || fail "no $python on PATH; install it, or set SUPERRES_PYTHON"
  command -v aws >/dev/null || fail "no aws on PATH; install the AWS command line"
}

download() { # URI SHA256 FILE
  local try
  # A new role is not known everywhere immediately.
  for try in 1 2 3 4 5; do
    if aws s3 cp --only-show-errors "$1" "$3"; then
      echo "$2  $3" | sha256sum --check --status && return
      rm -f "$3"
      fail "$1: its SHA-256 is not $2; deploy again"
    fi
    [[ $try == 5 ]] || sleep 10
  done
  fail "$1: cannot be downloaded; does it exist, and may this machine read it?"
}

install_release() {
  local parts=$home/parts release="$SUPERRES_WHEEL_SHA256 $SUPERRES_WHEELHOUSE_SHA256"
  mkdir -p "$home/bin"
  download "$SUPERRES_CONFIG" "$SUPERRES_CONFIG_SHA256" "$home/config.yaml"
  [[ $(cat "$home/installed" 2>/dev/null) != "$release" ]] || return 0
  rm -rf "$home/installed" "$parts" "$home/venv"
  mkdir -p "$parts"
  local wheel="$parts/${SUPERRES_WHEEL##*/}"
  download "$SUPERRES_WHEEL" "$SUPERRES_WHEEL_SHA256" "$wheel"
  download "$SUPERRES_WHEELHOUSE" "$SUPERRES_WHEELHOUSE_SHA256" "$parts/wheelhouse.tar"
  mkdir "$parts/wheelhouse"
  tar -x -f "$parts/wheelhouse.tar" -C "$parts/wheelhouse" --no-same-owner
  "$python" -m venv "$home/venv"
  local pip=("$home/venv/bin/python" -m pip install --quiet --no-index --disable-pip-version-check)
  "${pip[@]}" --find-links "$parts/wheelhouse" --require-hashes -r "$parts/wheelhouse/requirements.txt" ||
    fail "cannot install the wheelhouse $SUPERRES_WHEELHOUSE"
  "${pip[@]}" --no-deps "$wheel" || fail "cannot install the wheel $SUPERRES_WHEEL"
  rm -rf "$parts"
  echo "$release" >"$home/installed"
}

# Secrets go into a process's environment and nowhere else: no file, no command line, no log.
write_secrets() {
  cat >"$home/bin/with_secrets.py" <<'PYTHON'
"""Runs a command with secrets in its environment: VARIABLE=SECRET[#KEY] … -- COMMAND …

Without a command it exits with status 3 if a secret was replaced since the unit was started.
"""

import json
import os
import secrets
import sys
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

# Of several units that find a secret empty, only one can fill it: this token rejects a second value.
FIRST = "superres-first-value-of-this-secret"


def read_or_fill(client, secret, may_fill):
    try:
        return client.get_secret_value(SecretId=secret)
    except client.exceptions.ResourceNotFoundException:
        if not may_fill:
            raise
    try:
        client.put_secret_value(
            SecretId=secret, SecretString=secrets.token_hex(24), ClientRequestToken=FIRST
        )
    except client.exceptions.ResourceExistsException:
        pass
    return client.get_secret_value(SecretId=secret)


def main():
    end = sys.argv.index("--")
    wanted, command = sys.argv[1:end], sys.argv[end + 1 :]
    versions = {}
    client = boto3.client("secretsmanager") if wanted else None
    for variable, _, source in (each.partition("=") for each in wanted):
        secret, _, key = source.partition("#")
        try:
            answer = read_or_fill(client, secret, not key and bool(command))
            text = answer["SecretString"]
            os.environ[variable] = json.loads(text)[key] if key else text
        except (BotoCoreError, ClientError, KeyError, ValueError) as error:
            # Only the name of a ValueError: its message may quote the secret.
            reason = type(error).__name__ if isinstance(error, (KeyError, ValueError)) else error
            sys.exit(f"superres: secret {secret}: {reason}")
        versions[secret] = answer["VersionId"]
    known = Path(os.environ.get("RUNTIME_DIRECTORY", ".")) / "secret-versions.json"
    if not command:
        sys.exit(3 if known.exists() and json.loads(known.read_text()) != versions else 0)
    known.write_text(json.dumps(versions))
    os.execv(command[0], command)


main()
PYTHON
}

settings() { # the settings of the units, as lines of shell
  local name
  compgen -e | { grep -E '^(SUPERRES_[A-Z]+__[A-Z_]+|AWS_DEFAULT_REGION)$' || true; } | sort | while read -r name; do
    printf 'export %s=%q\n' "$name" "${!name}"
  done
}

secrets_of() { # UNIT: its secrets, in quotes
  local each
  for each in ${SUPERRES_SECRETS:-}; do
    [[ $each != "$1:"* ]] || printf '%q ' "${each#*:}"
  done
}

write_starter() { # UNIT: the script that starts it, from systemd or by hand
  local folder=$root/var/lib/superres-$1
  [[ -z $root ]] || mkdir -p "$folder"
  {
    echo "#!/usr/bin/env bash"
    echo "# superres $1 with its settings and secrets; written by infra/services/install.sh."
    echo "set -euo pipefail"
    settings
    # Temporary images are larger than the memory that /tmp may use.
    printf 'cd %q\n' "$folder"
    # shellcheck disable=SC2016
    echo 'export TMPDIR=$PWD'
    printf 'exec %q %q %s-- %q %s --config %q "$@"\n' "$home/venv/bin/python" "$home/bin/with_secrets.py" \
      "$(secrets_of "$1")" "$home/venv/bin/superres" "$1" "$home/config.yaml"
  } >"$home/bin/$1"
  chmod 755 "$home/bin/$1"
}

write_check() { # UNIT PORT: the script that restarts a unit that hangs or has an old secret
  {
    echo "#!/usr/bin/env bash"
    echo "# Restarts superres-$1 if it hangs or has an old secret; written by infra/services/install.sh."
    echo "set -uo pipefail"
    settings
    printf 'if ! curl -fsS -o /dev/null --max-time 10 --retry 5 --retry-delay 10 --retry-all-errors http://127.0.0.1:%s/healthz; then\n' "$2"
    echo "  echo 'superres-$1 does not respond: restarting it'"
    echo "  exec systemctl restart superres-$1"
    echo "fi"
    printf 'RUNTIME_DIRECTORY=/run/superres-%s %q %q %s--\n' "$1" "$home/venv/bin/python" "$home/bin/with_secrets.py" "$(secrets_of "$1")"
    echo "if [[ \$? == 3 ]]; then"
    echo "  echo 'a secret of superres-$1 was replaced: restarting it'"
    echo "  exec systemctl restart superres-$1"
    echo "fi"
  } >"$home/bin/check-$1"
  chmod 755 "$home/bin/check-$1"
}

write_units() { # UNIT MEMORY STOP_SECONDS
  local folder=$root/etc/systemd/system
  mkdir -p "$folder"
  cat >"$folder/superres-$1.service" <<UNIT
[Unit]
Description=superres $1
Wants=network-online.target
After=network-online.target
# Retries for ever, for example until Kafka has started.
StartLimitIntervalSec=0

[Service]
ExecStart=$home/bin/$1
Restart=always
RestartSec=10
# Lets running work finish: longer than the service itself takes to stop.
TimeoutStopSec=$3
MemoryMax=$2
LimitNOFILE=65536

# A user that exists only while the unit runs, and can write only to these folders.
DynamicUser=yes
StateDirectory=superres-$1
RuntimeDirectory=superres-$1
WorkingDirectory=/var/lib/superres-$1
UMask=0077

# No privileges that it does not need.
AmbientCapabilities=
CapabilityBoundingSet=
LockPersonality=yes
NoNewPrivileges=yes
PrivateDevices=yes
PrivateTmp=yes
PrivateUsers=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service

[Install]
WantedBy=multi-user.target
UNIT
  cat >"$folder/superres-$1-check.service" <<UNIT
[Unit]
Description=Checks that superres $1 responds and has current secrets

[Service]
Type=oneshot
ExecStart=$home/bin/check-$1
UNIT
  cat >"$folder/superres-$1-check.timer" <<UNIT
[Unit]
Description=Checks superres $1 every five minutes

[Timer]
OnActiveSec=5min
OnUnitInactiveSec=5min

[Install]
WantedBy=timers.target
UNIT
}

install_unit() { # UNIT
  write_starter "$1"
  # Port, share of memory, and seconds until a stop becomes a kill: more than ingestion.drain_seconds
  # (at most 200), or the 15 of notify, and 10.
  case $1 in
    consume) set -- "$1" "${SUPERRES_INGESTION__CONSUMER_PORT:-9101}" 60% 230 ;;
    uploads) set -- "$1" "${SUPERRES_INGESTION__UPLOAD_PORT:-8081}" "$(uploads_memory)" 230 ;;
    start-runs) set -- "$1" "${SUPERRES_STARTS__PORT:-9102}" 10% 230 ;;
    notify) set -- "$1" "${SUPERRES_NOTIFIER__PORT:-8080}" 80% 30 ;;
  esac
  write_check "$1" "$2"
  write_units "$1" "$3" "$4"
  # Not units: people run them.
  [[ $1 != consume ]] || write_starter produce
  [[ $1 != uploads ]] || write_starter ingest
}

uploads_memory() { # without a consumer it stores the images itself
  if [[ " $SUPERRES_UNITS " == *" consume "* ]]; then echo 25%; else echo 75%; fi
}

start_units() {
  local unit
  if [[ -n $root ]]; then
    for unit in $SUPERRES_UNITS; do echo "start $unit: $home/bin/$unit"; done
    return
  fi
  systemctl daemon-reload
  for unit in $SUPERRES_UNITS; do
    systemctl enable --quiet "superres-$unit.service" "superres-$unit-check.timer"
    systemctl restart "superres-$unit.service" "superres-$unit-check.timer"
  done
}

# The services run without it too, so nothing here fails the installation.
# https://github.com/aws/amazon-cloudwatch-agent/pull/2121 (journald)
send_journals() {
  [[ -n ${SUPERRES_LOG_GROUP:-} ]] || return 0
  local unit separator='' file=$home/cloudwatch-agent.json
  local agent=/opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl
  {
    echo '{"logs": {"logs_collected": {'
    echo '"files": {"collect_list": ['
    echo "{\"file_path\": \"/var/log/cloud-init-output.log\", \"log_group_name\": \"$SUPERRES_LOG_GROUP\", \"log_stream_name\": \"{instance_id}/install\"}]},"
    echo '"journald": {"collect_list": ['
    for unit in $SUPERRES_UNITS; do
      printf '%s{"units": ["superres-%s.service", "superres-%s-check.service"], "log_group_name": "%s", "log_stream_name": "{instance_id}/%s"}' \
        "$separator" "$unit" "$unit" "$SUPERRES_LOG_GROUP" "$unit"
      separator=$',\n'
    done
    echo ']}}}}'
  } >"$file"
  [[ -z $root ]] || return 0
  dnf install -y -q amazon-cloudwatch-agent && "$agent" -a fetch-config -m ec2 -s -c "file:$file" >/dev/null ||
    echo "superres install: journals stay on this instance, since the CloudWatch agent does not start with $file" >&2
}

check
install_release
write_secrets
for unit in $SUPERRES_UNITS; do install_unit "$unit"; done
start_units
send_journals
echo "superres install: done"
