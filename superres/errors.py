"""Every error that this project raises on purpose.

``SuperresError`` is the root of the tree. Its message is one line: what is wrong, where, and what
to do about it. The command line prints this line and nothing else. Any other exception is a bug.

- ``SuperresError``

  - ``ConfigError``: a wrong key or value in ``config.yaml``, the environment or an option.
  - ``StorageError``: a path or ``s3://`` object cannot be read or written.
  - ``ModelError``: a checkpoint cannot be loaded, or does not fit the scale.
  - ``RecordError``: a record (JSON that passes between the parts) cannot be read.
  - ``PrerequisiteError``: a tool, a library or a GPU is missing.
  - ``ImageRejectedError``: one image cannot be used; it is recorded as rejected, the others go on.
  - ``IncompleteImageError``: tiles of an image are missing, so it cannot be put together.
  - ``ForbiddenUrlError``: a URL must not be followed: its host is not public, or its scheme not
    allowed.
  - ``TransferError``: a connection failed; a later attempt may succeed.
"""


class SuperresError(Exception):
    """Root of the tree. The message is one line: what, where, what to do."""


class ConfigError(SuperresError):
    """A configuration key or value, or an option, is wrong."""


class StorageError(SuperresError):
    """A path or object cannot be read or written."""


class ModelError(SuperresError):
    """A checkpoint cannot be loaded or does not fit."""


class RecordError(SuperresError):
    """A record is damaged, or its version is unknown."""


class PrerequisiteError(SuperresError):
    """A tool, a library or a GPU is missing on this machine."""


class IncompleteImageError(SuperresError):
    """An image lacks tiles."""


class ImageRejectedError(SuperresError):
    """An image cannot or must not be processed; the message is the reason."""


class ForbiddenUrlError(SuperresError):
    """A URL must not be followed."""


class TransferError(SuperresError):
    """A connection failed, was too slow or was cut off."""
