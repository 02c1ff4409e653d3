"""Takes the screenshots in docs/images/: the gallery in Chromium, with real results.

    .venv/bin/python -m scripts.screenshots

The images are those of scikit-image, upscaled and measured as the jobs do it.
"""

import tempfile
from contextlib import suppress
from pathlib import Path

import pyvips

from notifier.recording import record_status
from notifier.store.runs import RunStatus
from tests.support.chromium import Page, chromium
from tests.support.example_gallery import DAY, Gallery, hours_ago, sample

FOLDER = Path(__file__).parents[1] / "docs" / "images"
MOST_BYTES = 300_000
MINUTES = 7.0  # between two images
# Those that are on the screen: the others are not loaded before they are.
DRAWN = """
[...document.images].filter(image => image.src && image.getBoundingClientRect().top < innerHeight)
  .every(image => image.complete && image.naturalWidth)
"""


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="screenshots-") as folder:
        gallery = Gallery(Path(folder))
        try:
            images = fill(gallery)
            with gallery.served() as address, chromium() as page:
                page.open(f"{address}/")
                page.wait("document.querySelector('#updated.live')")
                shoot(page, "gallery", 1280, 980)
                shoot(page, "gallery-dark", 1280, 980, dark=True)
                shoot(page, "phone", 390, 844)
                page.open(f"{address}/images/{images['coffee.png']}")
                shoot(page, "image", 1280, 1010)
                page.set_screen(1280, 860)
                page.run("document.querySelector('.zoom').click()")
                page.wait("document.querySelector('.layer.right img').dataset.whole")
                page.run("document.querySelectorAll('#viewer-sides button')[1].click()")
                page.run("document.querySelector('[data-zoom]:nth-child(5)').click()")  # 4×
                page.wait("document.querySelector('.layer.left img').dataset.whole")
                page.run("document.querySelector('.stage').blur()")
                shoot(page, "zoom", 1280, 860)
        finally:
            gallery.close()


def fill(gallery: Gallery) -> dict[str, str]:
    """Upscales the sample images; returns image_ids by name."""
    images: dict[str, str] = {}
    order = (7, 6, 3, 4, 5, 0, 1, 2)
    for number, index in enumerate(order):
        content, name = sample(index, 1200 if index in (3, 6) else None)
        moment = hours_ago((len(order) - number) * MINUTES / 60)
        mode = "upscale" if name.startswith("motorcycle") else "evaluate"
        images[name] = gallery.finish(content, name, mode=mode, finished_at=moment).image_id
    detail = {"counts": {"evaluate_images": len(order)}, "rejected": []}
    status = RunStatus(
        f"{DAY}-x2", "run", "succeeded", 2, DAY, None, hours_ago(MINUTES / 60), detail
    )
    record_status(gallery.database, status)
    gallery.changes.poll()
    return images


def shoot(page: Page, name: str, width: int, height: int, *, dark: bool = False) -> None:
    page.set_screen(width, height, dark=dark)
    page.wait(DRAWN)
    # libvips picks colours as the eye sees them; the more it may lose, the smaller the file.
    image = pyvips.Image.new_from_buffer(page.picture(), "", access="random")
    image = image.extract_band(0, n=3).copy(interpretation="srgb")
    for quality in (100, 90, 80, 65, 50):
        content = image.pngsave_buffer(palette=True, Q=quality, dither=0.6, effort=10, keep="none")
        if len(content) <= MOST_BYTES:
            break
    (FOLDER / f"{name}.png").write_bytes(content)
    print(f"{name}.png: {len(content):,} bytes, quality {quality}")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
