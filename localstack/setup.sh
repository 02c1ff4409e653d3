#!/usr/bin/env bash
# Builds localstack/.venv from the hash-checked lock; LocalStack needs Python 3.13, so it cannot
# share the project's environment, from which only uv is used.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# $PYTHON names the project's Python; this one's is $PYTHON313.
python=$(PYTHON=${PYTHON313:-} scripts/find_python.sh 3.13) || {
  echo "localstack-setup: LocalStack needs Python 3.13; after installing it: make localstack-setup (PYTHON313=/path where it is not found)" >&2
  exit 1
}
echo "Setting up LocalStack (once, half a minute) …"
"$python" -m venv --clear --without-pip localstack/.venv
UV_PYTHON_DOWNLOADS=never .venv/bin/uv pip install --quiet --require-hashes \
  --python localstack/.venv/bin/python -r localstack/requirements.txt
touch localstack/.venv/.setup
