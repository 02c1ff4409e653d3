#!/usr/bin/env bash
# Checks style, types, layers, shell scripts and Terraform; stops at the first error.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=.venv/bin

available() { # TOOL WHAT REMEDY: a missing tool fails in CI, and skips its check elsewhere
  command -v "$1" >/dev/null && return
  echo "lint: $1 not found, $2 unchecked; remedy: $3" >&2
  [[ ${CI:-} != true ]] || exit 1
  return 1
}

"$bin/ruff" check
"$bin/ruff" format --check
"$bin/mypy"
"$bin/lint-imports"
# The LocalStack plugin is checked against LocalStack's own environment.
if available localstack/.venv/bin/python "localstack/plugin" "make localstack-setup"; then
  (cd localstack/plugin && ../../$bin/mypy --python-executable ../.venv/bin/python localstack_emr_msk)
fi

mapfile -t shell_files < <(git ls-files --cached --others --exclude-standard '*.sh' .ci/run ':!infra/tests/package')
if available shellcheck "shell scripts" "make system-packages"; then
  shellcheck "${shell_files[@]}"
fi
if available terraform "infra/" "install Terraform 1.11 or newer"; then
  make infra-check
fi
