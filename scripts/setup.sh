#!/usr/bin/env bash
# Builds .venv for a role: `scripts/setup.sh run` (what `make run` needs) or `scripts/setup.sh dev`.
# Every package comes hash-checked from requirements/; uv itself comes from pip.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

role=${1:?usage: scripts/setup.sh run|dev|ingestion|notifier|gpu|train|notebook}
lock=requirements/$role.txt
[[ -f $lock ]] || { echo "setup: no lock file $lock; roles are run, dev, ingestion, notifier, gpu, train and notebook" >&2; exit 2; }

# A Python that was upgraded or removed leaves an environment that cannot start: create it again.
if ! .venv/bin/python -c 'import pip' 2>/dev/null; then
  python=$(scripts/find_python.sh 3.11)
  "$python" -m venv --clear .venv
fi

.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/setup.txt
export VIRTUAL_ENV=$PWD/.venv UV_PYTHON_DOWNLOADS=never
# The build backends are in the environment (requirements/setup.txt), so nothing unhashed is
# fetched to build pyspark, which comes as source, and the project itself. Its 400 MB of jars do
# not compress: storing them as they are saves 17 of 27 seconds of CPU.
.venv/bin/uv pip install --quiet --require-hashes --no-build-isolation \
  --config-settings-package 'pyspark:--build-option=--compression=stored' -r "$lock"
.venv/bin/uv pip install --quiet --no-deps --no-build-isolation --editable .
if [[ $role == dev ]]; then touch .venv/.setup-run; fi # dev holds all that run does
touch ".venv/.setup-$role"
