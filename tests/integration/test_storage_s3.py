"""Storage on ``s3://``, which is LocalStack here."""

import random
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from superres.errors import StorageError
from superres.imaging.decoding import decode
from superres.imaging.limits import Limits
from superres.imaging.png import encode_png_bytes
from superres.pipeline import storage
from superres.pipeline.arrival import reference_of, store_image
from superres.pipeline.records import Mode
from superres.pipeline.storage import s3
from superres.pipeline.storage.s3 import forget_clients
from tests.conftest import make_run_setup
from tests.support.networks import noise
from tests.support.references import image_reference

pytestmark = pytest.mark.localstack
ANY_SIZE = Limits(1 << 30, 1 << 30)


def test_storage_reads_writes_and_lists(bucket: str, tmp_path: Path) -> None:
    forget_clients()  # it may have been made for another endpoint
    base = f"s3://{bucket}/folder"
    for name in ("a.txt", "sub/b.txt", "_temporary/c.txt"):
        storage.write_bytes(f"{base}/{name}", name.encode())
    storage.write_bytes(f"s3://{bucket}/folder-beside/d.txt", b"")
    assert [file.name for file in storage.list_files(base)] == ["a.txt", "b.txt"]
    assert [file.name for file in storage.list_files(base, nested=False)] == ["a.txt"]
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


def test_an_upload_in_parts_comes_back_and_a_wrong_checksum_is_refused(bucket: str) -> None:
    forget_clients()  # they may have been made for another endpoint
    content = random.Random(0).randbytes(9 << 20)
    uri = f"s3://{bucket}/parts.bin"
    with storage.staged(uri, b"a note") as path:
        path.write_bytes(content)
    assert storage.read_bytes(uri) == content
    assert storage.read_metadata(uri) == b"a note"
    with pytest.raises(ClientError, match="checksum"):
        s3.client().put_object(Bucket=bucket, Key="x", Body=b"x", ChecksumCRC32="AAAAAA==")
    assert not storage.exists(f"s3://{bucket}/x")


@pytest.mark.usefixtures("aws_environment")
@pytest.mark.parametrize("mode", ["upscale", "evaluate"])
@pytest.mark.parametrize(("length", "objects"), [(10, 1), (3000, 2)])
def test_on_s3_an_image_carries_its_reference_if_it_is_short(
    bucket: str, mode: Mode, length: int, objects: int
) -> None:
    forget_clients()  # it may have been made for another endpoint
    run_setup = make_run_setup(f"s3://{bucket}/data")
    content = encode_png_bytes(noise(1, 3, 20, 30))
    reference = image_reference(mode, "https://example.org/" + "a" * length)
    store_image(content, reference, run_setup.layout, run_setup.settings.processing)
    files = storage.list_files(run_setup.layout.low_resolution)
    assert len(files) == objects
    low = next(file.uri for file in files if file.name.endswith(".png"))
    assert reference_of(low) == reference
    assert decode(storage.read_bytes(low), ANY_SIZE).info.width == (30 if mode == "upscale" else 15)
    forget_clients()
