"""Storage on ``s3://``, which is LocalStack here."""

from pathlib import Path

import pytest

from superres.errors import StorageError
from superres.pipeline import storage

pytestmark = pytest.mark.localstack


def test_storage_reads_writes_and_lists(bucket: str, tmp_path: Path) -> None:
    storage._s3_client.cache_clear()  # it may have been made for another endpoint
    base = f"s3://{bucket}/folder"
    for name in ("a.txt", "sub/b.txt", "_temporary/c.txt"):
        storage.write_bytes(f"{base}/{name}", name.encode())
    storage.write_bytes(f"s3://{bucket}/folder-beside/d.txt", b"")
    assert [file.name for file in storage.list_files(base)] == ["a.txt", "b.txt"]
    assert storage.read_bytes(f"{base}/a.txt") == b"a.txt"
    assert storage.exists(f"{base}/a.txt")
    assert not storage.exists(f"{base}/a")
    with storage.staged(f"{base}/large.bin") as path:
        path.write_bytes(b"x" * 10)
        assert not storage.exists(f"{base}/large.bin")
    with storage.local_copy(f"{base}/large.bin") as path:
        assert path.read_bytes() == b"x" * 10
    with pytest.raises(ZeroDivisionError), storage.staged(f"{base}/half.bin") as path:
        path.write_bytes(bytes(1 // 0))
    assert not storage.exists(f"{base}/half.bin")
    storage.delete_tree(base)
    assert storage.list_files(base) == []
    assert storage.exists(f"s3://{bucket}/folder-beside/d.txt")
    with pytest.raises(StorageError, match="cannot read"):
        storage.read_bytes(f"{base}/a.txt")
