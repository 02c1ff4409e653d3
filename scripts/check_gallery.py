"""Checks that a gallery shows every finished image: what `make run SERVE=no` ends with."""

import json
import re
import time
from typing import Any
from urllib.request import urlopen

from superres.cli.options import config_or_default
from superres.errors import SuperresError
from superres.pipeline import storage
from superres.pipeline.config_file import load_settings

_PATIENCE = 30.0


def answer(url: str) -> Any:
    with urlopen(url, timeout=10) as response:
        return json.load(response)


def check_gallery(address: str) -> None:
    """Waits until the gallery shows every finished image, and opens the newest three.

    Raises ``SuperresError`` when images are missing after half a minute.
    """
    results = load_settings(config_or_default(None)).dataset.reconstructed_images_dir
    # An image that was sent on two days has two records, and is one in the gallery; of each recipe.
    files = storage.list_files(storage.join(results, "evaluations"))
    finished = {(file.stem, *re.findall(r"/recipe=\w+/", file.uri)) for file in files}
    deadline = time.monotonic() + _PATIENCE
    try:
        while (shown := answer(f"{address}/api/v1/totals")["images"]) < len(finished):
            if time.monotonic() > deadline:
                raise SuperresError(f"the gallery shows {shown} of {len(finished)} images")
            time.sleep(0.2)
        for image in answer(f"{address}/api/v1/images?limit=3")["images"]:
            for path in (image["links"]["page"], image["links"]["result"]):
                with urlopen(address + path, timeout=30) as response:
                    response.read()
    except OSError as error:
        raise SuperresError(f"the gallery at {address}: {error}") from None
    print(f"Gallery checked: {shown} images at {address}")
