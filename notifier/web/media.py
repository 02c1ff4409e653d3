"""``/pictures/<result_id>/<kind>``: the pictures of an image, full size or as thumbnails.

Local files and derived pictures are sent by the application, with validators and ranges. A
full-size picture in S3 is a redirect to a presigned URL that is valid for ten minutes.

In a public gallery, a file that somebody gave goes as it is to those alone who have signed in. All
others get a copy without its metadata, from the cache (``superres.imaging.public_copy``).
"""

import mimetypes
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from flask import Blueprint, Response, redirect, request, send_file
from werkzeug.wrappers import Response as AnyResponse

from notifier.pictures import (
    KINDS,
    WIDTHS,
    GonePictureError,
    Kind,
    NoPictureError,
    StoredKind,
    check_exists,
    may_have_metadata,
    stored_kind,
    stored_uri,
    version_of,
)
from notifier.store.images import image_of
from notifier.web.context import service
from notifier.web.security import is_stranger
from superres.errors import ImageRejectedError, StorageError
from superres.imaging.decoding import check
from superres.imaging.files import is_image_name
from superres.imaging.limits import Limits
from superres.pipeline import storage
from superres.pipeline.records import RESULT_ID, Evaluation, name_of
from superres.service.problems import Problem

SIGNED_SECONDS = 600
_YEAR = 31_536_000
_ANY_SIZE = Limits(1 << 62, 1 << 62)
blueprint = Blueprint("media", __name__)


@blueprint.get("/pictures/<result_id>/<kind>")
def picture(result_id: str, kind: str) -> AnyResponse:
    """Sends a picture: ``width`` for a thumbnail, ``download`` for a file, ``v`` for a version."""
    if not re.fullmatch(RESULT_ID, result_id) or kind not in KINDS:
        raise Problem(404, f"no such picture; there are {', '.join(KINDS)}")
    width = _width()
    with service().database.reading() as session:
        image = image_of(session, result_id)
    if image is None:
        raise Problem(404, f"no finished image {result_id}")
    try:
        response = _response(image, kind, width)
    except (NoPictureError, ImageRejectedError) as error:
        raise Problem(404, str(error)) from None
    except GonePictureError as error:
        raise Problem(410, str(error)) from None
    if response.status_code in (200, 206, 304):
        # Another version has another URL; without ``v`` the browser revalidates.
        versioned = request.args.get("v") == version_of(image)
        immutable = f"private, max-age={_YEAR}, immutable"
        response.headers["Cache-Control"] = immutable if versioned else "private, no-cache"
    if service().settings.notifier.public_gallery:
        response.vary.update(("Authorization", "Cookie"))
    return response


def _width() -> int | None:
    width = request.args.get("width")
    if width is None:
        return None
    if width not in map(str, WIDTHS):
        raise Problem(400, f"width: expected one of {', '.join(map(str, WIDTHS))}")
    return int(width)


def _response(image: Evaluation, kind: Kind, width: int | None) -> AnyResponse:
    pictures, settings = service().pictures, service().settings
    stored = stored_kind(image, kind, width, unchanged=_is_download())
    if stored is None:
        tag = f"{kind}-{width or 'whole'}"
        return _cached(image, kind, tag, lambda: pictures.file(image, kind, width, settings))
    if may_have_metadata(image, stored) and is_stranger():
        tag = f"{stored}-public"
        return _cached(image, stored, tag, lambda: pictures.public_copy(image, stored, settings))
    uri = stored_uri(image, stored, settings)
    check_exists(uri)
    if storage.is_s3(uri):
        return _redirect_to_s3(uri, image, stored)
    path = Path(uri)
    suffix = check(path, _ANY_SIZE)
    status = path.stat()
    tag = f"{status.st_mtime_ns:x}-{status.st_size:x}"
    return _send(path, suffix, tag, None, _file_name(image, stored, suffix))


def _cached(image: Evaluation, kind: Kind, tag: str, make: Callable[[], Path]) -> Response:
    for _ in range(2):
        path = make()
        suffix = path.suffix.removeprefix(".")
        name = _file_name(image, kind, suffix)
        try:
            return _send(path, suffix, f"{version_of(image)}-{tag}", image.finished_at, name)
        except FileNotFoundError:
            continue  # another process has just deleted it
    raise StorageError(f"{path}: deleted again and again; raise notifier.cache_megabytes")


def _send(path: Path, suffix: str, tag: str, changed: datetime | None, name: str) -> Response:
    return send_file(
        path,
        mimetype=_type_of(suffix),
        as_attachment=_is_download(),
        download_name=name,
        conditional=True,
        etag=tag,
        last_modified=changed,
    )


def _redirect_to_s3(uri: str, image: Evaluation, kind: StoredKind) -> AnyResponse:
    # Stored images are named after their content.
    suffix = uri.rpartition(".")[2].lower()
    name = _file_name(image, kind, suffix) if _is_download() else None
    response = redirect(storage.presigned(uri, SIGNED_SECONDS, name, _type_of(suffix)), 302)
    response.headers["Cache-Control"] = f"private, max-age={SIGNED_SECONDS // 2}"
    return response


def _is_download() -> bool:
    return request.args.get("download") == "1"


def _type_of(suffix: str) -> str:
    guess = mimetypes.guess_type(f"picture.{suffix}")[0] or ""
    is_image = guess.startswith("image/") and "svg" not in guess
    return guess if is_image else "application/octet-stream"


def _file_name(image: Evaluation, kind: Kind, suffix: str) -> str:
    """The name of a download: the image's name in ASCII that every file system accepts."""
    name = name_of(image.source)
    stem = name.rpartition(".")[0] if is_image_name(name) else name
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-.")[:80] or image.image_id
    endings = {
        "result": f"-x{image.scale}",
        "original": "",
        "low": "-low",
        "bicubic": f"-x{image.scale}-bicubic",
        "difference": f"-x{image.scale}-difference",
    }
    return f"{plain}{endings[kind]}.{suffix}"
