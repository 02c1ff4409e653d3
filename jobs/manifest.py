"""The record of a run's start: what its jobs counted and rejected, and how long it took."""

from collections.abc import Mapping
from datetime import datetime

from jobs.selection import rejections
from superres.pipeline import storage
from superres.pipeline.layout import Layout
from superres.pipeline.records import RunManifest, applied_recipe


def write_manifest(
    layout: Layout,
    counts: dict[str, int],
    seconds: dict[str, float],
    models: Mapping[str, str],
    finished_at: datetime,
) -> RunManifest:
    """Writes the manifest; counts are named ``{stage}_{what}``, seconds by stage.

    ``models`` are the file names of the networks, by digest.

    It names every image that the run has rejected so far, also in an earlier start: one that was
    stopped wrote no manifest.
    """
    rejected = [record.image_id for record in rejections(layout) if record.run_id == layout.run_id]
    manifest = RunManifest(
        run_id=layout.run_id,
        scale=layout.scale,
        ingest_date=layout.ingest_date,
        counts=counts,
        rejected=rejected,
        seconds=seconds,
        finished_at=finished_at,
        start_id=layout.start_id,
        models=dict(models),
        recipe=applied_recipe(layout.recipe),
    )
    storage.write_bytes(layout.manifest, manifest.to_json().encode())
    return manifest
