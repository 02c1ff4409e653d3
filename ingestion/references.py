"""Making references, which every source does in the same way."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import ValidationError

from superres.errors import RecordError
from superres.pipeline.recipe import Recipe
from superres.pipeline.records import Attribution, ImageReference, Mode, Scale, image_id_of
from superres.redaction import redacted

_NAMED = 200  # characters of a source, in an error


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Wanted:
    """How to process every image of a source."""

    mode: Mode
    scale: Scale
    now: Callable[[], datetime] = _now

    def reference(
        self,
        canonical: str,
        url: str,
        source: str,
        attribution: Attribution | None = None,
        content_type: str | None = None,
        recipe: Recipe | None = None,
        path: str | None = None,
    ) -> ImageReference:
        """A new reference; ``canonical`` identifies the image, however its URL is written.

        Without a ``recipe`` of its own, the image is processed as each run is configured.

        Raises ``RecordError`` for what no record may hold, such as a URL that is too long.
        """
        try:
            return ImageReference(
                image_id=image_id_of(self.mode, self.scale, canonical, recipe),
                url=url,
                source=source,
                mode=self.mode,
                scale=self.scale,
                requested_at=self.now(),
                attribution=attribution,
                content_type=content_type,
                recipe=recipe,
                path=path,
            )
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(map(str, fault["loc"]))
            reason = fault["msg"].removeprefix("Value error, ")
            raise RecordError(f"{redacted(source)[:_NAMED]}: {field}: {reason}") from None
