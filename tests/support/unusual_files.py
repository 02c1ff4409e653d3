"""Files with unusual names, and things with the name of an image that are no files."""

import os
import socket
from pathlib import Path

NOT_UTF8 = os.fsdecode(b"caf\xe9.jpg")
LONG = {
    "LLL": "L" * 232 + ".jpg",
    "WWW": "写" * 77 + ".jpg",
    "longest": "M" * 251 + ".jpg",
    "longest but for its end": "M" * 250 + "N.jpg",
    "longest in three bytes": "写" * 83 + "aa.jpg",
}
"""Names of 235 to 255 bytes, which is the most that file systems allow."""
NO_FILES = {
    "dangling.jpg": "a link to nowhere.jpg, which does not exist",
    "device.jpg": "a device, not a file",
    "loop.jpg": "a link that leads back to itself",
    "pipe.jpg": "a pipe, not a file",
    "socket.jpg": "a socket, not a file",
}
"""What ``make_no_files`` makes, and how it is reported."""


def make_no_files(folder: Path) -> None:
    (folder / "dangling.jpg").symlink_to("nowhere.jpg")
    (folder / "device.jpg").symlink_to("/dev/zero")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(folder / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listening:
        # By a short path: that of a socket has at most 107 bytes.
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            listening.bind(f"/proc/self/fd/{descriptor}/socket.jpg")
        finally:
            os.close(descriptor)
