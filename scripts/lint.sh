#!/usr/bin/env bash
# Style, types, layers, shell scripts and Terraform; the first complaint stops.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=.venv/bin

there() { # TOOL WHAT REMEDY: without it, CI fails and others are told what is left unchecked
  command -v "$1" >/dev/null && return
  echo "lint: $1 not found, $2 unchecked; remedy: $3" >&2
  [[ ${CI:-} != true ]] || exit 1
  return 1
}

"$bin/ruff" check
"$bin/ruff" format --check
"$bin/mypy"
"$bin/lint-imports"
# LocalStack's plugin, in the environment that it runs in.
if there localstack/.venv/bin/python "localstack/plugin" "make localstack-setup"; then
  (cd localstack/plugin && ../../$bin/mypy --python-executable ../.venv/bin/python localstack_emr_msk)
fi

mapfile -t shell_files < <(git ls-files --cached --others --exclude-standard '*.sh' .ci/run ':!infra/tests/package')
if there shellcheck "shell scripts" "make system-packages"; then
  shellcheck "${shell_files[@]}"
fi
if there terraform "infra/" "install Terraform 1.11 or newer"; then
  make infra-check
fi
