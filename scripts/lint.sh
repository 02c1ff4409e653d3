#!/usr/bin/env bash
# Style, types, layers and shell scripts; the first complaint stops.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=.venv/bin

"$bin/ruff" check
"$bin/ruff" format --check
"$bin/mypy"
"$bin/lint-imports"

mapfile -t shell_files < <(git ls-files --cached --others --exclude-standard '*.sh' .ci/run)
if command -v shellcheck >/dev/null; then
  shellcheck "${shell_files[@]}"
elif [[ ${CI:-} == true ]]; then
  echo "lint: shellcheck not found; run: make system-packages" >&2
  exit 1
else
  echo "lint: shellcheck not found, shell scripts unchecked; remedy: make system-packages" >&2
fi
