"""Local folders: whole or not at all, hidden things left out, errors with the path.

The same functions on S3 are tested on the local cloud.
"""

import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from superres.errors import StorageError
from superres.pipeline import storage
from superres.pipeline.storage import StoredFile
from superres.pipeline.storage.s3 import forget_clients


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("base", "parts", "joined"),
    [
        ("data", ("a", "b.png"), "data/a/b.png"),
        ("data/", ("a",), "data/a"),
        ("/", ("a",), "/a"),
        ("s3://bucket", ("a", "b"), "s3://bucket/a/b"),
        ("s3://bucket/", ("a",), "s3://bucket/a"),
        ("s3://bucket/p", (), "s3://bucket/p"),
    ],
)
def test_join(base, parts, joined):
    assert storage.join(base, *parts) == joined


def test_s3_uris_are_distinguished_from_paths():
    assert storage.is_s3("s3://bucket/key")
    assert not storage.is_s3("/s3/key")
    assert storage.absolute("s3://bucket/key") == "s3://bucket/key"
    assert storage.absolute("folder/x") == str(Path.cwd() / "folder" / "x")


def test_written_bytes_come_back(tmp_path):
    uri = storage.join(str(tmp_path), "deep", "er", "x.bin")
    assert not storage.exists(uri)
    storage.write_bytes(uri, b"one")
    assert storage.exists(uri)
    storage.write_bytes(uri, b"two")
    assert storage.read_bytes(uri) == b"two"
    assert names_in(tmp_path) == {"deep", "er", "x.bin"}


def test_the_name_of_a_file_may_be_as_long_as_the_file_system_allows(tmp_path):
    uri = str(tmp_path / ("n" * 255))
    storage.write_bytes(uri, b"one")
    with storage.staged(uri) as path:
        path.write_bytes(b"two")
    assert storage.read_bytes(uri) == b"two"
    storage.write_file(uri, Path(__file__))
    assert names_in(tmp_path) == {"n" * 255}


def test_a_folder_is_no_object(tmp_path):
    assert not storage.exists(str(tmp_path))


def test_a_staged_file_appears_only_when_the_block_ends_well(tmp_path):
    uri = str(tmp_path / "out" / "x.png")
    with storage.staged(uri) as path:
        path.write_bytes(b"half")
        assert not storage.exists(uri)
        assert storage.list_files(str(tmp_path)) == []
        path.write_bytes(b"whole")
    assert storage.read_bytes(uri) == b"whole"
    assert names_in(tmp_path / "out") == {"x.png"}


@pytest.mark.parametrize("existing", [b"old", None])
def test_a_failed_block_leaves_everything_as_it_was(existing, tmp_path):
    uri = str(tmp_path / "x.png")
    if existing:
        storage.write_bytes(uri, existing)

    def fail() -> None:
        with storage.staged(uri) as path:
            path.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert names_in(tmp_path) == ({"x.png"} if existing else set())
    if existing:
        assert storage.read_bytes(uri) == existing


def test_two_writers_do_not_touch_each_other(tmp_path):
    uri = str(tmp_path / "x")
    with storage.staged(uri) as one, storage.staged(uri) as other:
        one.write_bytes(b"one")
        other.write_bytes(b"other")
    assert storage.read_bytes(uri) == b"one"  # the inner block ended first
    assert names_in(tmp_path) == {"x"}


def test_nothing_staged_is_an_error(tmp_path):
    def forget() -> None:
        with storage.staged(str(tmp_path / "x")):
            pass

    with pytest.raises(StorageError, match="x: cannot write: No such file"):
        forget()


def test_files_are_listed_by_name_with_their_sizes(tmp_path):
    write(tmp_path, "b/2.png", "a.png", "b/1.png", "b/c/d.txt")
    files = storage.list_files(str(tmp_path))
    assert files == [
        StoredFile(str(tmp_path / name), len(name))
        for name in ("a.png", "b/1.png", "b/2.png", "b/c/d.txt")
    ]
    assert [file.name for file in files] == ["a.png", "1.png", "2.png", "d.txt"]
    assert [file.stem for file in files] == ["a", "1", "2", "d"]


def test_files_in_folders_below_are_left_out_if_asked_for(tmp_path):
    write(tmp_path, "a.png", "b.png", "c/d.png", "c/e/f.png", ".hidden")
    for prefix in (tmp_path, f"{tmp_path}/"):
        files = storage.list_files(str(prefix), nested=False)
        assert [file.name for file in files] == ["a.png", "b.png"]
    assert storage.list_files(str(tmp_path / "none"), nested=False) == []


def test_hidden_files_and_folders_are_left_out_unless_asked_for(tmp_path):
    write(tmp_path, "x", ".x", "_SUCCESS", ".git/x", "_temporary/0/x", "a/.x.part", "a/_x_/y")
    assert [file.name for file in storage.list_files(str(tmp_path))] == ["x"]
    assert len(storage.list_files(str(tmp_path), hidden=True)) == 7


@pytest.mark.parametrize("form", ["{}", "{}/", "{}//", "./{}", "../up/{}", "{}/."])
def test_a_hidden_parent_folder_hides_nothing(form, tmp_path, monkeypatch):
    (tmp_path / "up").mkdir()
    monkeypatch.chdir(tmp_path / "up")
    write(tmp_path / "up", ".cache/_run/x.png", ".cache/_run/.hidden")
    files = storage.list_files(form.format(".cache/_run"))
    assert [file.name for file in files] == ["x.png"]
    assert storage.read_bytes(files[0].uri) == b".cache/_run/x.png"


def test_an_absent_folder_is_empty(tmp_path):
    assert storage.list_files(str(tmp_path / "none")) == []


def test_a_file_is_no_folder(tmp_path):
    write(tmp_path, "x")
    with pytest.raises(StorageError, match="x: cannot list: Not a directory"):
        storage.list_files(str(tmp_path / "x"))


def test_a_folder_that_cannot_be_read_is_not_taken_for_empty(tmp_path, monkeypatch):
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(StorageError, match="cannot list: Permission denied"):
        storage.list_files(str(tmp_path))


def test_a_tree_is_deleted_and_nothing_beside_it(tmp_path):
    write(tmp_path, "run/a/x", "run/_SUCCESS", "run-2/x")
    storage.delete_tree(str(tmp_path / "run"))
    storage.delete_tree(str(tmp_path / "run"))
    assert names_in(tmp_path) == {"run-2", "x"}


def test_a_tree_that_cannot_be_deleted_is_an_error(tmp_path, monkeypatch):
    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("shutil.rmtree", refuse)
    with pytest.raises(StorageError, match="cannot delete: Permission denied"):
        storage.delete_tree(str(tmp_path))


def test_a_local_copy_of_a_local_file_is_the_file(tmp_path):
    write(tmp_path, "x")
    with storage.local_copy(str(tmp_path / "x")) as path:
        assert path == tmp_path / "x"
    assert storage.exists(str(tmp_path / "x"))


def test_a_missing_file_is_named(tmp_path):
    uri = str(tmp_path / "none")
    with pytest.raises(StorageError, match="none: cannot read: No such file or directory"):
        storage.read_bytes(uri)
    with pytest.raises(StorageError, match="none: no such file"), storage.local_copy(uri):
        pass


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    write(tmp_path, "file")
    with pytest.raises(StorageError, match="file/x: cannot write: ") as caught:
        storage.write_bytes(str(tmp_path / "file" / "x"), b"")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("uri", ["s3://", "s3:///key"])
def test_an_s3_uri_without_a_bucket_is_refused_before_any_request(uri):
    for use in (storage.read_bytes, storage.exists, storage.list_files, storage.delete_tree):
        with pytest.raises(StorageError, match="names no bucket; write s3://bucket/key"):
            use(uri)


def test_local_work_never_imports_boto3(tmp_path):
    code = (
        "import sys; from superres.pipeline import storage; "
        f"storage.write_bytes({str(tmp_path / 'x')!r}, b'x'); "
        f"storage.list_files({str(tmp_path)!r}); assert 'boto3' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_signed_url_opens_one_object_for_a_while(monkeypatch):
    for name, value in {"ACCESS_KEY_ID": "id", "SECRET_ACCESS_KEY": "secret"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    forget_clients()
    try:
        url = urlsplit(storage.presigned("s3://bucket/a/x y.png", 600, "boat.png", "image/png"))
    finally:
        forget_clients()
    asked = parse_qs(url.query)
    # The region's own name: a new bucket's global one redirects, and then no signature fits.
    assert url.netloc == "bucket.s3.eu-central-1.amazonaws.com"
    assert url.path == "/a/x%20y.png"
    assert asked["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]  # the only one that KMS accepts
    assert asked["X-Amz-Expires"] == ["600"]
    assert asked["response-content-disposition"] == ['attachment; filename="boat.png"']
    assert asked["response-content-type"] == ["image/png"]


def test_only_objects_in_s3_have_signed_urls(tmp_path):
    with pytest.raises(StorageError, match="only objects in S3"):
        storage.presigned(str(tmp_path / "x"), 600)
