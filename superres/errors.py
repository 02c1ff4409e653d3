"""Every error this project raises on purpose.

``SuperresError`` is the root: its message is one line that says what went wrong, where, and what to
do about it; the command line prints exactly that line. Anything else that escapes is a bug.

- ``ConfigError``: a key or value in ``config.yaml``, the environment or on the command line.
- ``StorageError``: a path or ``s3://`` object that cannot be read or written.
- ``ModelError``: a checkpoint that cannot be loaded, or does not fit the scale asked for.
- ``ImageRejectedError``: one image is at fault; the run records it as rejected and goes on.
- ``IncompleteImageError``: tiles of an image are missing, so it must not be put together.
- ``RecordError``: a record (JSON that passes between the parts) that cannot be understood.
- ``ForbiddenUrlError``: a URL that must not be followed: not public, or of no allowed kind.
- ``TransferError``: the network failed, or the other side did; trying later may help.
- ``PrerequisiteError``: a tool, a library or a GPU that was asked for is not there.
"""


class SuperresError(Exception):
    """Root of the tree; the message is one line: what, where, what to do."""


class ConfigError(SuperresError):
    """A configuration key or value is wrong."""


class StorageError(SuperresError):
    """A path or object cannot be read or written."""


class ModelError(SuperresError):
    """A checkpoint cannot be loaded or does not fit."""


class RecordError(SuperresError):
    """A record is damaged, or of a version that this reader does not know."""


class PrerequisiteError(SuperresError):
    """Something that must be on the machine is missing."""


class IncompleteImageError(SuperresError):
    """An image whose tiles are not all there."""


class ImageRejectedError(SuperresError):
    """An image that cannot or must not be processed; the message is the reason."""


class ForbiddenUrlError(SuperresError):
    """A URL that leads where strangers must not send us."""


class TransferError(SuperresError):
    """A connection that failed, was too slow or was cut off."""
