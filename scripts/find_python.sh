#!/usr/bin/env bash
# Prints the path of a Python of the wanted version: `scripts/find_python.sh 3.13`.
# $PYTHON goes first, then PATH, then the folders where version managers and installers put it.
set -euo pipefail
shopt -s nullglob
version=${1:?usage: scripts/find_python.sh VERSION}

candidates=("python$version" python3)
for folder in ~/.pyenv/versions/"$version"*/bin /opt/*/bin /usr/local/bin /opt/homebrew/bin \
  ~/.local/share/uv/python/cpython-"$version"*/bin /Library/Frameworks/Python.framework/Versions/"$version"/bin; do
  candidates+=("$folder/python$version")
done

for candidate in ${PYTHON:+"$PYTHON"} "${candidates[@]}"; do
  # A version manager's shim may be on PATH without a Python behind it, so it has to run; and
  # Debian's python3 comes without venv until python3-venv is installed.
  if path=$("$candidate" -c 'import sys, venv, ensurepip
print(sys.executable) if "%d.%d" % sys.version_info[:2] == sys.argv[1] else sys.exit(1)' "$version" 2>/dev/null); then
    echo "$path"
    exit 0
  fi
done
echo "Python $version with venv not found: install it (Debian, where it has it: apt-get install python$version-venv; anywhere: pyenv install $version) or name it with PYTHON=/path/to/python$version" >&2
exit 1
