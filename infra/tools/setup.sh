#!/usr/bin/env bash
# Installs what infra/check.sh needs besides Terraform, each locked with hashes: checkov (PyPI),
# asl-validator (npm), and tflint (Go modules; the build takes three minutes).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

for tool in go npm; do
  command -v "$tool" >/dev/null || { echo "infra-tools: $tool is missing; install it, then run make infra-tools again" >&2; exit 1; }
done
echo "Setting up the checks of the infrastructure (once, about four minutes) …"
python=$(../../scripts/find_python.sh 3.11)
"$python" -m venv --clear --without-pip .venv
UV_PYTHON_DOWNLOADS=never ../../.venv/bin/uv pip install --quiet --require-hashes --python .venv/bin/python -r requirements.txt
npm ci --silent --no-audit --no-fund
go build -o bin/tflint github.com/terraform-linters/tflint
touch .setup
