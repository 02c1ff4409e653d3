#!/usr/bin/env bash
# Writes scripts/spark/lib/spark.jsa: the classes that Spark loads for a small job, S3's connector included, as
# a JVM has them in memory (dynamic class-data sharing archive, JEP 350). Given to it, Spark starts in
# about half the time. A JVM of another version or with another class path goes without it, silently.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

echo "Archiving the classes that Spark starts with (once, 190 MB) …"
archive=scripts/spark/lib/spark.jsa
python=$PWD/.venv/bin/python
spark=$("$python" -c 'import pyspark; print(pyspark.__path__[0])')
java="-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xlog:disable -XX:ArchiveClassesAtExit=$archive.new"
java="$java -Dlog4j2.configurationFile=file://$PWD/jobs/log4j2.properties" # says nothing of itself
conf=(
  "spark.driver.extraJavaOptions=$java"
  "spark.driver.extraClassPath=$PWD/scripts/spark/lib/*"
  spark.ui.enabled=false
  spark.ui.showConsoleProgress=false
  # Nobody answers there, and once is enough.
  spark.hadoop.fs.s3a.endpoint=http://127.0.0.1:9
  spark.hadoop.fs.s3a.endpoint.region=us-east-1
  spark.hadoop.fs.s3a.attempts.maximum=0
  spark.hadoop.fs.s3a.retry.limit=0
  spark.hadoop.fs.s3a.bucket.nobody.committer.magic.enabled=true
)
# A folder in the class path, such as Spark's configuration, would keep the archive from being used.
env AWS_ACCESS_KEY_ID=none AWS_SECRET_ACCESS_KEY=none SPARK_HOME="$spark" SPARK_CONF_DIR=scripts/spark/none \
  SPARK_LOCAL_IP=127.0.0.1 PYSPARK_PYTHON="$python" \
  "$spark/bin/spark-submit" --master 'local[2]' "${conf[@]/#/--conf=}" scripts/spark/small_job.py
mv "$archive.new" "$archive"
