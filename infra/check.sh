#!/usr/bin/env bash
# Checks the Terraform without AWS: format, validity, tests of every folder, tables in the READMEs.
# The provider comes from where Terraform is told to find it, or else from a mirror on this machine.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

provider=hashicorp/aws/$(sed -n 's/^ *version = "\(.*\)"$/\1/p' versions.tf)
export CHECKPOINT_DISABLE=1 TF_IN_AUTOMATION=1 TF_INPUT=0
# Whatever goes wrong, no one's account is reached.
unset AWS_PROFILE AWS_SESSION_TOKEN
export AWS_ACCESS_KEY_ID=none AWS_SECRET_ACCESS_KEY=none AWS_EC2_METADATA_DISABLED=true

log=$(mktemp)
trap 'rm -f "$log"' EXIT

quietly() { # WHAT COMMAND…: what the command prints is shown only if it fails
  local what=$1
  shift
  if ! "$@" >"$log" 2>&1; then
    cat "$log" >&2
    echo "infra/check.sh: $what failed" >&2
    return 1
  fi
}

plugins=
mirror() { # the folder of a mirror that has the provider; nothing when there is none
  local found
  found=$(find / -xdev -maxdepth 7 -type d -path "*/$provider" -not -path '*/.terraform/*' -print -quit 2>/dev/null || true)
  [[ -z $found ]] || echo "${found%/*/"$provider"}"
}

initialise() { # FOLDER
  [[ -n $plugins ]] || ! terraform -chdir="$1" init -backend=false -no-color >"$log" 2>&1 || return 0
  [[ -n $plugins ]] || plugins=$(mirror)
  [[ -n $plugins ]] || {
    cat "$log" >&2
    echo "infra/check.sh: Terraform cannot get the provider $provider; name a mirror in its CLI configuration" >&2
    return 1
  }
  quietly "init of $1" terraform -chdir="$1" init -backend=false -no-color -plugin-dir="$plugins"
}

quietly "format (remedy: terraform fmt -recursive infra)" terraform fmt -check -recursive -diff
quietly "tables" python3 tables.py --check

passed=0
for folder in . state modules/*; do
  initialise "$folder"
  values=("")
  [[ $folder != . ]] || values=(environments/*.tfvars)
  [[ $folder == modules/* ]] || quietly "validate of $folder" terraform -chdir="$folder" validate -no-color
  for file in "${values[@]}"; do
    quietly "test of $folder ${file:+with $file}" terraform -chdir="$folder" test -no-color ${file:+-var-file="$file"}
    passed=$((passed + $(sed -n 's/^Success! \([0-9]*\) passed.*/\1/p' "$log")))
  done
done
echo "infra: $passed tests of Terraform passed"
