"""References to images and lists in S3 (LocalStack)."""

import pytest

from ingestion.sources.s3_prefix import S3PrefixSource
from ingestion.sources.url_list import UrlListSource
from superres.pipeline import storage
from superres.pipeline.records import image_id_of
from superres.pipeline.storage.s3 import forget_clients
from tests.support.source_reading import WANTED, following, read_all


@pytest.mark.localstack
@pytest.mark.slow
def test_images_and_lists_in_s3_are_read(bucket):
    forget_clients()  # it may have been made for another endpoint
    base = f"s3://{bucket}/photos"
    for name in ("b.png", "a/c.JPG", "note.txt", "_temporary/x.png"):
        storage.write_bytes(f"{base}/{name}", name.encode())
    storage.write_bytes(f"s3://{bucket}/photos-beside/d.png", b"")
    (first, second), errors = read_all(S3PrefixSource(base, WANTED))
    assert not errors
    assert (first.url.full, second.url.full) == (f"{base}/a/c.JPG", f"{base}/b.png")
    etag = storage.list_files(f"{base}/a")[0].etag
    assert len(etag) == 32
    canonical = f"s3:{bucket}/photos/a/c.JPG:{etag}"
    assert first.image_id == image_id_of("upscale", 2, canonical)
    with following(S3PrefixSource(base, WANTED, follow_seconds=0.1)) as followed:
        assert [followed.next(), followed.next()] == [first.url.full, second.url.full]
        storage.write_bytes(f"{base}/b.png", b"changed")
        assert followed.next() == f"{base}/b.png"
        assert followed.nothing_for(0.3)
    listed = f"s3://{bucket}/urls.txt"
    storage.write_bytes(listed, b"http://a.example/1\nbad\n")
    found, (error,) = read_all(UrlListSource(listed, WANTED))
    assert found[0].url.full == "http://a.example/1"
    assert error.startswith(f"{listed}, line 2")
    assert (
        "no image under this prefix"
        in read_all(S3PrefixSource(f"s3://{bucket}/none", WANTED))[1][0]
    )
    assert "cannot list" in read_all(S3PrefixSource(f"s3://{bucket}-none/x", WANTED))[1][0]
