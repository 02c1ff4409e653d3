"""Records of invented finished images, in memory and in storage."""

import hashlib
from datetime import UTC, date, datetime, timedelta

from notifier.store.database import Database
from notifier.store.images import record_evaluation
from superres.pipeline import storage
from superres.pipeline.recipe import DEFAULT_RECIPE, Recipe
from superres.pipeline.records import (
    Attribution,
    Evaluation,
    Metrics,
    RunManifest,
    StoredImage,
    applied_recipe,
)

MOMENT = datetime(2026, 1, 31, 12, tzinfo=UTC)
DAY = date(2026, 1, 31)


def image_id(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()[:32]


def evaluation(
    number: int,
    *,
    minutes: float = 0,
    gain: float | None = 1.0,
    run_id: str = "2026-01-31-x2",
    day: date = DAY,
    recipe: Recipe = DEFAULT_RECIPE,
) -> Evaluation:
    """An image finished some minutes after ``MOMENT``; without a gain it has no original."""
    name = image_id(number)
    original = None if gain is None else StoredImage(uri=f"o/{name}.png", width=4, height=2)
    return Evaluation(
        image_id=name,
        run_id=run_id,
        mode="upscale" if gain is None else "evaluate",
        scale=2,
        ingest_date=day,
        source="picsum",
        attribution=Attribution(author="Ada Lovelace"),
        low_resolution=StoredImage(uri=f"l/{name}.png", width=2, height=1),
        result=StoredImage(uri=f"r/{name}.png", width=4, height=2),
        original=original,
        protocol=None if gain is None else "bt601-y/stored-images",
        ours=None if gain is None else Metrics(psnr=30 + gain, ssim=0.9),
        bicubic=None if gain is None else Metrics(psnr=30, ssim=0.8),
        seconds=0.5,
        model_digest="0" * 64,
        finished_at=MOMENT + timedelta(minutes=minutes),
        recipe=applied_recipe(recipe),
    )


def manifest(
    run_id: str = "2026-01-31-x2",
    minutes: float = 0,
    start_id: str | None = None,
    recipe: Recipe = DEFAULT_RECIPE,
) -> RunManifest:
    return RunManifest(
        run_id=run_id,
        scale=2,
        ingest_date=DAY,
        counts={"images": 3, "finished": 3, "rejected": 0},
        rejected=[],
        seconds={"split": 1.0},
        finished_at=MOMENT + timedelta(minutes=minutes),
        start_id=start_id,
        recipe=applied_recipe(recipe),
    )


def evaluation_uri(results: str, record: Evaluation) -> str:
    partition = f"scale={record.scale}/ingest_date={record.ingest_date.isoformat()}"
    if record.recipe:
        partition += f"/recipe={record.recipe.key}"
    return storage.join(results, "evaluations", partition, f"{record.image_id}.json")


def write(results: str, *records: Evaluation | RunManifest) -> list[str]:
    """Writes records as the jobs do; returns their URIs."""
    uris = []
    for record in records:
        if isinstance(record, RunManifest):
            uri = storage.join(results, "runs", f"{record.name}.json")
        else:
            uri = evaluation_uri(results, record)
        storage.write_bytes(uri, record.to_json().encode())
        uris.append(uri)
    return uris


def record_all(database: Database, *evaluations: Evaluation, tag: str = "tag") -> list[bool]:
    """Stores evaluations, each in its own transaction; returns which were new."""

    def record(each: Evaluation) -> bool:
        with database.writing() as session:
            return record_evaluation(session, each, f"/results/{each.result_id}.json", tag)

    return [record(each) for each in evaluations]
