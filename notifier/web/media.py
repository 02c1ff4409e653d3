"""``/pictures/<image_id>/<kind>``: the pictures of an image, whole or as thumbnails.

What lies in a local folder and what is made goes through the application, with validators and
ranges; whole pictures in S3 are left to S3, by a URL that is good for ten minutes.
"""

import mimetypes
import re
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
    check_there,
    stored_kind,
    stored_uri,
    version_of,
)
from notifier.store.images import image_of
from notifier.web.context import service
from notifier.web.problems import Problem
from superres.errors import ImageRejectedError, StorageError
from superres.imaging.decoding import check
from superres.imaging.limits import Limits
from superres.pipeline import storage
from superres.pipeline.records import IMAGE_ID, Evaluation, name_of

SIGNED_SECONDS = 600
_YEAR = 31_536_000
_ANY_SIZE = Limits(1 << 62, 1 << 62)
blueprint = Blueprint("media", __name__)


@blueprint.get("/pictures/<image_id>/<kind>")
def picture(image_id: str, kind: str) -> AnyResponse:
    """A picture; ``width`` asks for a thumbnail, ``download`` for a file, ``v`` for a version."""
    if not re.fullmatch(IMAGE_ID, image_id) or kind not in KINDS:
        raise Problem(404, f"no such picture; there are {', '.join(KINDS)}")
    width = _width()
    with service().database.reading() as session:
        image = image_of(session, image_id)
    if image is None:
        raise Problem(404, f"no finished image {image_id}")
    try:
        response = _answer(image, kind, width)
    except (NoPictureError, ImageRejectedError) as error:
        raise Problem(404, str(error)) from None
    except GonePictureError as error:
        raise Problem(410, str(error)) from None
    if response.status_code in (200, 206, 304):
        # Another version has another address; without one the browser asks whether it changed.
        named = request.args.get("v") == version_of(image)
        lasting = f"private, max-age={_YEAR}, immutable"
        response.headers["Cache-Control"] = lasting if named else "private, no-cache"
    return response


def _width() -> int | None:
    told = request.args.get("width")
    if told is None:
        return None
    if told not in map(str, WIDTHS):
        raise Problem(400, f"width: expected one of {', '.join(map(str, WIDTHS))}")
    return int(told)


def _answer(image: Evaluation, kind: Kind, width: int | None) -> AnyResponse:
    whole = stored_kind(image, kind, width, as_it_is=_downloads())
    if whole is None:
        return _made(image, kind, width)
    settings = service().settings
    uri = stored_uri(image, whole, settings)
    check_there(uri)
    if storage.is_s3(uri):
        return _signed(uri, image, whole)
    path = Path(uri)
    suffix = check(path, _ANY_SIZE)
    told = path.stat()
    tag = f"{told.st_mtime_ns:x}-{told.st_size:x}"
    return _sent(path, suffix, tag, None, _file_name(image, whole, suffix))


def _made(image: Evaluation, kind: Kind, width: int | None) -> Response:
    pictures, settings = service().pictures, service().settings
    tag = f"{version_of(image)}-{kind}-{width or 'whole'}"
    for _ in range(2):
        path = pictures.file(image, kind, width, settings)
        suffix = path.suffix.removeprefix(".")
        name = _file_name(image, kind, suffix)
        try:
            return _sent(path, suffix, tag, image.finished_at, name)
        except FileNotFoundError:
            continue  # another process cleared it up just now
    raise StorageError(f"{path}: cleared up again and again; raise notifier.cache_megabytes")


def _sent(path: Path, suffix: str, tag: str, changed: datetime | None, name: str) -> Response:
    return send_file(
        path,
        mimetype=_type_of(suffix),
        as_attachment=_downloads(),
        download_name=name,
        conditional=True,
        etag=tag,
        last_modified=changed,
    )


def _signed(uri: str, image: Evaluation, kind: StoredKind) -> AnyResponse:
    # What we store is called by its content.
    suffix = uri.rpartition(".")[2].lower()
    name = _file_name(image, kind, suffix) if _downloads() else None
    response = redirect(storage.presigned(uri, SIGNED_SECONDS, name, _type_of(suffix)), 302)
    response.headers["Cache-Control"] = f"private, max-age={SIGNED_SECONDS // 2}"
    return response


def _downloads() -> bool:
    return request.args.get("download") == "1"


def _type_of(suffix: str) -> str:
    told = mimetypes.guess_type(f"picture.{suffix}")[0] or ""
    return told if told.startswith("image/") and "svg" not in told else "application/octet-stream"


def _file_name(image: Evaluation, kind: Kind, suffix: str) -> str:
    """ASCII that every file system takes, from what people call the image."""
    stem = re.sub(r"\.(jpe?g|png|webp|tiff?|bmp|gif)$", "", name_of(image.source), flags=re.I)
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-.")[:80] or image.image_id
    endings = {
        "result": f"-x{image.scale}",
        "original": "",
        "low": "-low",
        "bicubic": f"-x{image.scale}-bicubic",
        "difference": f"-x{image.scale}-difference",
    }
    return f"{plain}{endings[kind]}.{suffix}"
