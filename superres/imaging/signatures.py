"""Tells the format of an image by its first bytes, never by its name."""

SIGNATURE_BYTES = 16

_PREFIXES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),  # BigTIFF
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
)


def sniff(head: bytes) -> str | None:
    """The format that the first ``SIGNATURE_BYTES`` bytes announce; None if it is not accepted."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    return next((name for prefix, name in _PREFIXES if head.startswith(prefix)), None)
