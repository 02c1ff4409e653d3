#!/usr/bin/env bash
# Fetches Spark's S3 connector into scripts/spark/lib/ with Maven, once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

command -v mvn >/dev/null || { echo "jars: mvn not found; install Maven (Debian: apt-get install maven)" >&2; exit 1; }
echo "Fetching Spark's S3 connector (once, 13 MB) …"
rm -rf lib
mvn --quiet --batch-mode -Dstyle.color=never dependency:copy-dependencies
touch lib/.fetched
