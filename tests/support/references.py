"""References as ingestion puts them on Kafka and stores them with images."""

from datetime import UTC, datetime

from superres.pipeline.recipe import Recipe
from superres.pipeline.records import ImageReference, Mode


def image_reference(
    mode: Mode = "upscale",
    url: str = "https://example.org/a.png",
    image_id: str = "a" * 32,
    recipe: Recipe | None = None,
) -> ImageReference:
    """A reference of scale 2 for the day of the tests' runs."""
    return ImageReference(
        image_id=image_id,
        url=url,
        source="täst",
        mode=mode,
        scale=2,
        requested_at=datetime(2026, 1, 31, tzinfo=UTC),
        recipe=recipe,
    )
