#!/usr/bin/env bash
# Checks the Terraform without AWS: format, validity, tests of every folder, tables in the READMEs, tflint
# and checkov; `make infra-tools` installs those two. (For the state machine see
# tests/unit/test_state_machine.py and tests/integration/test_state_machine_executions.py.)
set -euo pipefail
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
cd "$here"

export CHECKPOINT_DISABLE=1 TF_IN_AUTOMATION=1 TF_INPUT=0
# Without credentials, so that no account can be reached.
unset AWS_PROFILE AWS_SESSION_TOKEN
export AWS_ACCESS_KEY_ID=none AWS_SECRET_ACCESS_KEY=none AWS_EC2_METADATA_DISABLED=true

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

quietly() { # WHAT COMMAND…: shows the command's output only if it fails
  local what=$1 log
  shift
  log=$(mktemp -p "$logs")
  "$@" >"$log" 2>&1 && return
  cat "$log" >&2
  echo "infra/check.sh: $what failed" >&2
  return 1
}

check_folder() { # FOLDER: prints how many tests passed
  local folder=$1 values=("") package=() file log
  if [[ $folder == . ]]; then
    values=(environments/*.tfvars)
    package=(--var=package_dir=tests/package) # build/package may not exist
  fi
  quietly "tflint of $folder" tools/bin/tflint --chdir="$folder" --config="$here/.tflint.hcl" "${package[@]}"
  quietly "init of $folder" terraform -chdir="$folder" init -backend=false -no-color
  [[ $folder == modules/* ]] || quietly "validate of $folder" terraform -chdir="$folder" validate -no-color
  for file in "${values[@]}"; do
    log=$(mktemp -p "$logs")
    terraform -chdir="$folder" test -no-color ${file:+-var-file="$file"} >"$log" 2>&1 || {
      cat "$log" >&2
      echo "infra/check.sh: test of $folder ${file:+with $file }failed" >&2
      return 255 # stops xargs
    }
    sed -n 's/^Success! \([0-9]*\) passed.*/\1/p' "$log"
  done
}

if [[ ${1:-} == --folder ]]; then
  check_folder "$2"
  exit
fi

for tool in tools/bin/tflint tools/.venv/bin/checkov; do
  [[ -x $tool ]] || { echo "infra/check.sh: $tool is missing; run make infra-tools" >&2; exit 1; }
done

quietly "format (run terraform fmt -recursive infra)" terraform fmt -check -recursive -diff
quietly "tables (run python3 infra/tables.py)" python3 tables.py --check

# The provider comes from the user's configuration, a mirror on this machine, or the registry.
config=$(cd .. && .venv/bin/python -c 'from pathlib import Path; from deploy.terraform import DATA, cli_configuration
print(cli_configuration(Path("infra"), DATA / "cli.tfrc") or "")')
[[ -z $config ]] || export TF_CLI_CONFIG_FILE=$config

# checkov takes half a minute on one core, beside the tests.
quietly "checkov" tools/.venv/bin/checkov --directory . --framework terraform --skip-download --quiet --compact \
  --skip-path tools --skip-path tests &
checkov=$!
passed=$(printf '%s\n' . state deploy_role modules/* | xargs -P "$(nproc)" -n 1 "$here/check.sh" --folder | awk '{ n += $1 } END { print n }')
wait "$checkov"
echo "infra: $passed tests of Terraform passed; tflint and checkov found nothing"
