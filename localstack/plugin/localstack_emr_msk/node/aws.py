"""Replaces a missing AWS command line; supports only ``aws s3 cp`` of one object.

The node's file ``aws`` runs it with LocalStack's Python, which has boto3.
"""

import os
import shutil
import sys
from pathlib import Path
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import BotoCoreError, ClientError

_IGNORED = {"--only-show-errors", "--quiet", "--no-progress", "--no-cli-pager"}
_IGNORED_WITH_VALUE = {"--region", "--output", "--endpoint-url", "--profile"}
_USAGE = (
    "aws: this node has no AWS command line; its replacement supports only: aws s3 cp SOURCE TARGET"
)


def copy(source: str, target: str) -> None:
    """Copies between S3 and this machine; ``-`` is standard input or output."""
    s3 = boto3.client("s3", endpoint_url=os.environ.get("AWS_ENDPOINT_URL"))
    if source.startswith("s3://"):
        bucket, key = _bucket_and_key(source)
        body = s3.get_object(Bucket=bucket, Key=key)["Body"]
        if target == "-":
            shutil.copyfileobj(body, sys.stdout.buffer)
            return
        path = Path(target) / Path(key).name if Path(target).is_dir() else Path(target)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            shutil.copyfileobj(body, file)
    else:
        bucket, key = _bucket_and_key(target)
        if not key or key.endswith("/"):
            key += Path(source).name
        content = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        s3.put_object(Bucket=bucket, Key=key, Body=content)


def _bucket_and_key(uri: str) -> tuple[str, str]:
    parts = urlsplit(uri)
    if parts.scheme != "s3":
        sys.exit(_USAGE)
    return parts.netloc, uri.split("/", 3)[3] if uri.count("/") > 2 else ""


def main(arguments: list[str]) -> None:
    """Parses the command line and copies; exits 1 with one line if that fails."""
    words = []
    rest = iter(arguments)
    for word in rest:
        if word in _IGNORED_WITH_VALUE:
            next(rest, None)
        elif word not in _IGNORED:
            words.append(word)
    if len(words) != 4 or words[:2] != ["s3", "cp"] or any(w.startswith("--") for w in words):
        sys.exit(_USAGE)
    try:
        copy(words[2], words[3])
    except (ClientError, BotoCoreError, OSError) as error:
        sys.exit(f"aws s3 cp {words[2]} {words[3]}: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
