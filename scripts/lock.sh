#!/usr/bin/env bash
# Resolves the requirement files again, each with hashes and without any registry's address.
# `scripts/lock.sh --upgrade` takes newer versions; without it only what pyproject.toml requires changes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

compile() {
  .venv/bin/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --no-annotate "$@"
}
ours=(--universal --python-version 3.11)

# dev holds every role (but no JupyterLab); the others are held to its versions, so one .venv can serve several roles.
compile "${ours[@]}" "$@" --extra dev -o requirements/dev.txt pyproject.toml
for role in run cluster ingestion notifier gpu train notebook; do
  compile "${ours[@]}" "$@" -c requirements/dev.txt --extra "$role" -o "requirements/$role.txt" pyproject.toml
done
compile "${ours[@]}" "$@" -c requirements/dev.txt -o requirements/setup.txt requirements/setup.in

# LocalStack 4.13.1 breaks with dependencies newer than its last free release.
compile --universal --python-version 3.13 --exclude-newer 2026-03-15 "$@" \
  -o localstack/requirements.txt localstack/requirements.in
