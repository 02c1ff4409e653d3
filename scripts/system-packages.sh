#!/usr/bin/env bash
# Installs the Debian packages whose tools the tests need and this machine lacks; elsewhere names them.
set -euo pipefail

missing=()
need() { # PACKAGE COMMAND…: the package is missing when the command fails
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}
need chromium chromium --version
need make make --version
need maven mvn --version
need npm npm --version
need openjdk-17-jdk-headless java -version
need postgresql bash -c 'ls /usr/lib/postgresql/*/bin/{initdb,postgres}'
need python3-venv python3 -c 'import venv, ensurepip'
need shellcheck shellcheck --version
need wrk command -v wrk # -v fails after it has told the version

if (( ${#missing[@]} == 0 )); then
  echo "system-packages: nothing is missing"
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "system-packages: not a Debian machine; install what Debian calls: ${missing[*]}"
  exit 0
fi

echo "system-packages: installing ${missing[*]}"
sudo=()
(( EUID == 0 )) || sudo=(sudo)
"${sudo[@]}" apt-get update -qq
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends "${missing[@]}" >/dev/null
