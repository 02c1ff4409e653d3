#!/usr/bin/env bash
# Builds localstack/.venv from the hash-checked lock; LocalStack needs Python 3.13, so it cannot
# share the project's environment, from which only uv is used.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# $PYTHON is the project's Python; the one for LocalStack is $PYTHON313.
python=$(PYTHON=${PYTHON313:-} scripts/find_python.sh 3.13) || {
  echo "localstack-setup: LocalStack needs Python 3.13; install it, then run make localstack-setup (with PYTHON313=/path if it is not found)" >&2
  exit 1
}
echo "Setting up LocalStack (once, about half a minute) …"
"$python" -m venv --clear --without-pip localstack/.venv
UV_PYTHON_DOWNLOADS=never .venv/bin/uv pip install --quiet --require-hashes \
  --python localstack/.venv/bin/python -r localstack/requirements.txt
# The plugin with EMR and MSK, in editable mode. Its build backend is in the project's environment, not
# in LocalStack's.
wheel=$(mktemp -d)
trap 'rm -rf "$wheel"' EXIT
output=$(cd localstack/plugin && ../../.venv/bin/python -m hatchling build --target wheel:editable --directory "$wheel" 2>&1) ||
  { echo "$output" >&2; exit 1; }
UV_PYTHON_DOWNLOADS=never .venv/bin/uv pip install --quiet --no-deps \
  --python localstack/.venv/bin/python "$wheel"/*.whl
touch localstack/.venv/.setup
