"""Calls to AWS that may fail for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError

from superres.errors import TransferError


@contextmanager
def calling(what: str) -> Iterator[None]:
    """Raises ``TransferError``, which names ``what`` was called, for every error of AWS."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise TransferError(f"{what}: {error}") from error
