"""Waits until a notifier shows every image that is finished: `scripts/check_gallery.py ADDRESS`."""

import json
import sys
import time
from typing import Any
from urllib.request import urlopen

from superres.cli.options import config_or_default
from superres.errors import SuperresError
from superres.pipeline import storage
from superres.pipeline.config import load_settings

_PATIENCE = 30.0


def answer(url: str) -> Any:
    with urlopen(url, timeout=10) as response:
        return json.load(response)


def main() -> None:
    address = sys.argv[1]
    results = load_settings(config_or_default(None)).dataset.reconstructed_images_dir
    # An image that was sent on two days has two records, and is one in the gallery.
    finished = {file.stem for file in storage.list_files(storage.join(results, "evaluations"))}
    deadline = time.monotonic() + _PATIENCE
    while (shown := answer(f"{address}/api/v1/totals")["images"]) < len(finished):
        if time.monotonic() > deadline:
            sys.exit(f"gallery: shows {shown} of {len(finished)} images; see .local/notify.log")
        time.sleep(0.2)
    for image in answer(f"{address}/api/v1/images?limit=3")["images"]:
        for path in (image["links"]["page"], image["links"]["result"]):
            with urlopen(address + path, timeout=30) as response:
                response.read()
    print(f"Gallery checked: {shown} images at {address}")


if __name__ == "__main__":
    try:
        main()
    except (OSError, SuperresError) as error:
        sys.exit(f"gallery: {error}; see .local/notify.log")
