"""Ray Data with the functions of the jobs: ``map_batches`` over images, one actor for each core."""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from jobs.selection import SourceImage
from jobs.stages import infer_tiles, reconstruct_images, split_images
from superres.network.engine import fetch_weights, make_engine
from superres.pipeline.config import Processing
from superres.pipeline.layout import Layout


class Upscaler:
    """An actor: makes its engine once, then split, infer and reconstruct for each image."""

    def __init__(self, processing: Processing, layout: Layout) -> None:
        """Loads the network of the layout's scale."""
        self._processing, self._layout = processing, layout
        weights = fetch_weights(processing.checkpoint(layout.scale), layout.scale)
        self._engine = make_engine(weights)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Upscales the images of a batch."""
        files = [Path(path) for path in batch["path"]]
        images = [SourceImage(file.stem, str(file), file.stat().st_size) for file in files]
        tiles = split_images(images, self._processing, self._layout)
        upscaled = infer_tiles(tiles, lambda _: self._engine)
        results = reconstruct_images(upscaled, self._layout)
        return {"uri": [result.uri for result in results]}


def start_ray(stack: ExitStack, cores: int) -> Callable[[Sequence[Path], Processing, Layout], None]:
    """Starts Ray on loopback until the stack is closed; returns what upscales images with it."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    # As many workers as Spark has; a dataset needs a core of its own for what reads the paths.
    ray.init(
        num_cpus=cores + 1,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        log_to_driver=False,
        logging_level="ERROR",
    )
    stack.callback(ray.shutdown)
    ray.data.DataContext.get_current().enable_progress_bars = False

    def upscale(images: Sequence[Path], processing: Processing, layout: Layout) -> None:
        paths = [{"path": str(image)} for image in images]
        dataset = ray.data.from_items(paths, override_num_blocks=len(paths))
        done = dataset.map_batches(
            Upscaler,
            fn_constructor_args=(processing, layout),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=cores),
        )
        done.materialize()

    return upscale
