"""What of a record leaves the notifier, in its REST API, pages and webhooks alike.

Pictures have addresses of this service, and images have names. Where files are, in folders or in
S3, is for those who run the service; records in storage say it.
"""

import re
from collections.abc import Mapping
from typing import Any

from superres.pipeline.records import result_id_of
from superres.redaction import redacted

API_PREFIX = "/api/v1"
_PICTURES = ("low_resolution", "result", "original")
# A list, so that a new field of records does not become public by accident.
_PUBLIC_FIELDS = (
    *("version", "image_id", "run_id", "start_id", "mode", "scale", "ingest_date", "attribution"),
    *("protocol", "ours", "bicubic", "seconds", "model_digest", "model_name", "finished_at"),
)
_NAMED_KINDS = ("folder", "samples", "upload")
# An object in S3, or a path with a folder in it; not the path of a URL.
_LOCATION = re.compile(
    r"""(?:(?:s3a?|file)://|(?<![\w/:.…-])(?:~|\.{1,2})?/(?=[^\s"',;)\]}/]+/))[^\s"',;)\]}]+"""
)


def public_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """What everybody may see of an evaluation as JSON: no locations, but links to its pictures.

    Works on the JSON: building a model would take four times as long.
    """
    recipe = record.get("recipe")
    pictures = {kind: _size(record[kind]) for kind in _PICTURES}
    return {
        **{name: record.get(name) for name in _PUBLIC_FIELDS},
        **pictures,
        "source": public_source(record["source"]),
        "recipe": recipe and _public_recipe(recipe),
        "links": _links(record, recipe and recipe["key"]),
    }


def public_source(source: str) -> str:
    """A source without the folder or prefix that a file is in."""
    kind, separator, rest = source.partition(":")
    if source.startswith("s3://"):
        return f"s3:{_last(source)}"
    if kind == "file" or source.startswith(("/", "~/")):
        return f"folder:{_last(source)}"
    if separator and kind in _NAMED_KINDS:
        return f"{kind}:{_last(rest)}"
    return redacted(source)


def public_detail(detail: Mapping[str, Any]) -> dict[str, Any]:
    """The detail of a run or execution without locations."""
    shown = dict(detail)
    if isinstance(recipe := shown.get("recipe"), dict):
        shown["recipe"] = _public_recipe(recipe)
    for name in ("error", "cause"):
        if isinstance(text := shown.get(name), str):
            shown[name] = without_locations(text)
    return shown


def without_locations(text: str) -> str:
    """A text in which paths and objects in S3 are reduced to their names, and URLs redacted."""
    return redacted(_LOCATION.sub(lambda found: f"…/{_last(found[0])}", text))


def _links(record: Mapping[str, Any], recipe_key: str | None) -> dict[str, str | None]:
    name = result_id_of(record["image_id"], recipe_key)
    return {
        "self": f"{API_PREFIX}/images/{name}",
        "page": f"/images/{name}",
        "result": f"/pictures/{name}/result",
        "original": f"/pictures/{name}/original" if record["original"] else None,
    }


def _size(stored: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if stored is None else {"width": stored["width"], "height": stored["height"]}


def _public_recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    members = recipe.get("members")
    if not isinstance(members, dict) or not isinstance(members.get("model_path"), str):
        return dict(recipe)
    return {**recipe, "members": {**members, "model_path": _last(members["model_path"])}}


def _last(location: str) -> str:
    return location.rstrip("/").rsplit("/", 1)[-1]
