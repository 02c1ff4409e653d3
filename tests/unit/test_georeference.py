"""GeoTIFF in, GeoTIFF out: tifffile writes the sources and reads the results."""

import io

import numpy as np
import pytest
import tifffile

from tests.support.image_files import photo
from tests.unit.test_metadata import result_of

SCALE, TIE, MATRIX, KEYS, TEXTS, NODATA = 33550, 33922, 34264, 34735, 34737, 42113
AREA, POINT = 1, 2
DOUBLE, SHORT, ASCII = 12, 3, 2


def keys(raster_type: int) -> tuple[int, ...]:
    return (1, 1, 0, 2, 1024, 0, 1, 1, 1025, 0, 1, raster_type)


def geotiff(tags, raster_type: int = AREA, *, big: bool = False, depth: int = 8) -> bytes:
    known = [(KEYS, SHORT, 12, keys(raster_type), True), (NODATA, ASCII, 2, "0", True)]
    extra = [(tag, DOUBLE, len(numbers), numbers, True) for tag, numbers in tags.items()]
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream, bigtiff=big) as file:
        file.write(photo(30, 40, 3, depth), photometric="rgb", extratags=[*known, *extra])
    return stream.getvalue()


def tags_of(content: bytes) -> dict[int, tuple[float, ...] | str]:
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        return {tag.code: tag.value for tag in file.pages[0].tags}


def place_of(tags, column: float, row: float) -> tuple[float, float]:
    """Where a point of the raster is, counted from the corner of the first pixel."""
    shift = 0.5 if tags[KEYS][-1] == POINT else 0.0
    i, j = column - shift, row - shift
    if MATRIX in tags:
        m = tags[MATRIX]
        return m[0] * i + m[1] * j + m[3], m[4] * i + m[5] * j + m[7]
    (sx, sy, _), (ti, tj, _, x, y, _) = tags[SCALE], tags[TIE][:6]
    return x + (i - ti) * sx, y - (j - tj) * sy


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("raster_type", [AREA, POINT])
@pytest.mark.parametrize(
    "tags",
    [
        {SCALE: (0.5, 0.25, 0.0), TIE: (3.0, 7.0, 0.0, 500_000.0, 4_600_000.0, 0.0)},
        {MATRIX: (0.5, 0.1, 0.0, 1000.0, 0.2, -0.5, 0.0, 2000.0, *[0.0] * 7, 1.0)},
    ],
    ids=["scale and tie point", "matrix"],
)
def test_every_point_stays_where_it_is(tags, raster_type, scale, tmp_path):
    source = geotiff(tags, raster_type)
    content, remarks = result_of(source, "tiff", tmp_path, scale=scale)
    before, after = tags_of(source), tags_of(content)
    for column, row in ((0, 0), (40, 0), (13.25, 30), (40, 30)):
        expected = place_of(before, column, row)
        assert place_of(after, column * scale, row * scale) == pytest.approx(expected, abs=1e-9)
    assert (after[KEYS], after[NODATA]) == (before[KEYS], before[NODATA])
    if SCALE in tags:
        assert after[SCALE][:2] == (0.5 / scale, 0.25 / scale)
    assert remarks == ()


@pytest.mark.parametrize("depth", [8, 16])
def test_a_big_tiff_stays_one(depth, tmp_path):
    source = geotiff({SCALE: (1.0, 1.0, 0.0)}, big=True, depth=depth)
    content, _ = result_of(source, "tiff", tmp_path)
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        assert file.is_bigtiff
        assert file.pages[0].dtype == np.dtype(f"uint{depth}")
        assert file.pages[0].tags[SCALE].value == (0.5, 0.5, 0.0)


@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "avif"])
def test_other_formats_say_that_the_georeference_is_lost(name, tmp_path):
    _, remarks = result_of(geotiff({SCALE: (1.0, 1.0, 0.0)}), name, tmp_path)
    assert remarks == ("its georeference is lost; only TIFF can keep it (--format tiff)",)


def test_a_tiff_without_georeference_loses_none(tmp_path):
    assert result_of(geotiff({}), "png", tmp_path)[1] == ()


@pytest.mark.parametrize("policy", ["no-location", "strip"])
def test_without_location_only_nodata_stays(policy, tmp_path):
    source = geotiff({SCALE: (1.0, 1.0, 0.0), TIE: (0.0,) * 6})
    content, _ = result_of(source, "tiff", tmp_path, policy)
    found = tags_of(content)
    assert found[NODATA] == "0"
    assert not {SCALE, TIE, KEYS} & found.keys()


def test_a_damaged_georeference_is_left_out_with_a_remark(tmp_path):
    content, remarks = result_of(geotiff({SCALE: (1.0, 1.0)}), "tiff", tmp_path)
    assert remarks == ("its georeference is damaged and lost",)
    assert SCALE not in tags_of(content)
