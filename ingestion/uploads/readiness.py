"""Whether the upload service can keep what it receives."""

import os
import tempfile
from pathlib import Path

from superres.pipeline import storage


def unwritable_folders(uploads: str) -> str:
    """Why files cannot be received or stored; empty when they can, or are stored in S3."""
    folders = [Path(tempfile.gettempdir())]
    if not storage.is_s3(uploads):
        folder = Path(storage.absolute(uploads))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            return f"{folder}: cannot create: {error.strerror}"
        folders.append(folder)
    for folder in folders:
        if not os.access(folder, os.W_OK | os.X_OK):
            return f"{folder}: cannot write there"
    return ""
