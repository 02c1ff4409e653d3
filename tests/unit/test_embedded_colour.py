"""Colours that a file describes: profiles of grey, and the colour chunks of PNG's third edition."""

import contextlib
import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from superres.errors import ImageRejectedError
from superres.imaging.decoding import decode
from superres.imaging.limits import Limits
from tests.support import image_files

LIMITS = Limits(max_bytes=10**7, max_pixels=10**6)
COLOUR, GREY = image_files.photo(24, 32, 3), image_files.photo(24, 32, 1)
DISPLAY_P3 = ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06))
BT709 = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
D65 = (0.3127, 0.3290)


def decoded(data: bytes) -> NDArray[Any]:
    """(H, W, C) samples."""
    return np.moveaxis(decode(data, LIMITS).planes(), 0, -1)


def rejection(data: bytes) -> str:
    with pytest.raises(ImageRejectedError) as caught:
        decode(data, LIMITS).planes()
    return str(caught.value)


# ---- the arithmetic, from the definitions of sRGB and of chromaticities


def srgb_to_light(samples: NDArray[Any]) -> NDArray[np.float64]:
    peak = np.iinfo(samples.dtype).max
    v = samples / peak
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def light_to_srgb(light: NDArray[np.float64], peak: int) -> NDArray[np.float64]:
    light = light.clip(0, 1)
    return peak * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def to_xyz(primaries: Any, white: tuple[float, float] = D65) -> NDArray[np.float64]:
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in primaries]).T
    x, y = white
    return columns * np.linalg.solve(columns, (x / y, 1, (1 - x - y) / y))


def shown(light: NDArray[np.float64], primaries: Any, peak: int = 255) -> NDArray[np.float64]:
    """Light of D65 primaries in sRGB, as levels."""
    matrix = np.linalg.inv(to_xyz(BT709)) @ to_xyz(primaries)
    return light_to_srgb(light @ matrix.T, peak)


def assert_near(ours: NDArray[Any], wanted: NDArray[Any], levels: float = 1) -> None:
    assert np.abs(ours - wanted).max() <= levels


# ---- grey profiles


def curve(table: list[int]) -> bytes:
    """ICC's curveType: a gamma in 1/256 if it has one entry."""
    content = struct.pack(f">I{len(table)}H", len(table), *table)
    return b"curv" + bytes(4) + content + bytes(-len(content) % 4)


def grey_profile(tone: bytes) -> bytes:
    """ICC.1 version 2, for a grey printer or scanner."""
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"grey\0" + bytes(79),
        b"cprt": b"text" + bytes(4) + b"none\0\0\0\0",
        b"wtpt": b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061),
        b"kTRC": tone,
    }
    offset, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(content))
        body += content
    head = struct.pack(">I4xI", offset + len(body), 0x02100000) + b"mntrGRAYXYZ " + bytes(12)
    head = (head + b"acsp").ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + table + body


# Ink spreads on paper: half of it inked looks like 70 %.
INK = 1 - np.linspace(0, 1, 256)
DOT_GAIN_20 = 1 - np.clip(INK + 0.8 * INK * (1 - INK), 0, 1)
PROFILES = {
    "dot gain 20 %": (curve(np.rint(DOT_GAIN_20 * 65535).astype(int).tolist()), DOT_GAIN_20),
    "gamma 1.8": (curve([461]), np.linspace(0, 1, 256) ** (461 / 256)),
    "linear": (curve([256]), np.linspace(0, 1, 256)),
}


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "JPEG"])
def test_profiles_of_grey_are_applied(name: str, format_name: str) -> None:
    tone, light = PROFILES[name]
    data = image_files.pillow(GREY, format_name, icc_profile=grey_profile(tone))
    stored = np.asarray(Image.open(io.BytesIO(data)))
    result = decoded(data)[..., 0].astype(int)
    assert np.abs(result - stored).mean() > 8
    assert_near(result, light_to_srgb(light, 255)[stored], 1.5)


def test_a_grey_profile_of_colour_samples_is_ignored() -> None:
    profile = grey_profile(PROFILES["linear"][0])
    data = image_files.pillow(COLOUR, "WEBP", lossless=True, icc_profile=profile)
    np.testing.assert_array_equal(decoded(data), COLOUR)


def test_grey_of_16_bits_with_alpha_keeps_both() -> None:
    pixels = image_files.noise(24, 32, 2, 16)
    profile = b"test\0\0" + zlib.compress(grey_profile(PROFILES["linear"][0]))
    result = decoded(image_files.png(pixels, extra={b"iCCP": profile}))
    np.testing.assert_array_equal(result[..., 1], pixels[..., 1])
    assert_near(result[..., 0], light_to_srgb(pixels[..., 0] / 65535, 65535), 40)


# ---- PNG's chunks


def gama(value: float) -> bytes:
    return struct.pack(">I", round(value * 100_000))


def chrm(primaries: Any, white: tuple[float, float] = D65) -> bytes:
    return struct.pack(">8I", *(round(v * 100_000) for xy in (white, *primaries) for v in xy))


def iccp(profile: bytes) -> bytes:
    return b"test\0\0" + zlib.compress(profile)


ADOBE_PROFILE = iccp(image_files.icc_profile(image_files.ADOBE_RGB, 563 / 256))


def png(chunks: dict[bytes, bytes], pixels: image_files.Pixels = COLOUR) -> bytes:
    return image_files.png(pixels, extra=chunks)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_gamma_is_honoured(depth: int, channels: int) -> None:
    pixels = image_files.noise(24, 32, channels, depth)
    peak = 2**depth - 1
    result = decoded(png({b"gAMA": gama(1)}, pixels))
    assert result.shape == pixels.shape
    colours = 1 if channels < 3 else 3
    wanted = light_to_srgb(pixels[..., :colours] / peak, peak)
    assert_near(result[..., :colours], wanted, 1 if depth == 8 else 128)
    np.testing.assert_array_equal(result[..., colours:], pixels[..., colours:])


@pytest.mark.parametrize("value", [0.45455, 0.45, 0.46, 0.0, 0.00001, 1000.0])
def test_srgbs_own_gamma_and_nonsense_change_nothing(value: float) -> None:
    np.testing.assert_array_equal(decoded(png({b"gAMA": gama(value)})), COLOUR)
    both = {b"gAMA": gama(value), b"cHRM": chrm(BT709)}
    np.testing.assert_array_equal(decoded(png(both)), COLOUR)


@pytest.mark.parametrize("content", [b"", b"\0" * 32, b"\xff" * 32, chrm([(0.3, 0.3)] * 3)])
def test_impossible_chromaticities_change_nothing(content: bytes) -> None:
    np.testing.assert_array_equal(decoded(png({b"cHRM": content})), COLOUR)


def test_chromaticities_and_gamma_together_are_a_colour_space() -> None:
    chunks = {b"gAMA": gama(256 / 563), b"cHRM": chrm(image_files.ADOBE_RGB)}
    wanted = shown((COLOUR / 255) ** (563 / 256), image_files.ADOBE_RGB)
    assert_near(decoded(png(chunks)), wanted, 1.5)


def cicp(primaries: int, transfer: int, matrix: int = 0, full: int = 1) -> bytes:
    return bytes([primaries, transfer, matrix, full])


@pytest.mark.parametrize("depth", [8, 16])
def test_display_p3_is_converted(depth: int) -> None:
    pixels = image_files.photo(24, 32, 3, depth)
    peak = 2**depth - 1
    wanted = shown(srgb_to_light(pixels), DISPLAY_P3, peak)
    assert_near(decoded(png({b"cICP": cicp(12, 13)}, pixels)), wanted, 1.5 * peak / 255)


@pytest.mark.parametrize(("transfer", "exponent"), [(4, 2.2), (5, 2.8), (8, 1.0), (17, 2.6)])
def test_transfer_functions_that_are_powers(transfer: int, exponent: float) -> None:
    wanted = light_to_srgb((COLOUR / 255) ** exponent, 255)
    assert_near(decoded(png({b"cICP": cicp(1, transfer)})), wanted)


def test_bt709_in_the_narrow_range_of_video() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 256, 1).repeat(3, axis=2)
    v = ((levels - 16.0) / 219).clip(0, 1)
    light = np.where(v < 0.081, v / 4.5, ((v + 0.099) / 1.099) ** (1 / 0.45))
    # Steps of 219 levels are coarser than those of 255.
    result = decoded(png({b"cICP": cicp(1, 1, full=0)}, levels))
    assert_near(result, light_to_srgb(light, 255), 3)


def test_narrow_range_leaves_alpha_alone() -> None:
    pixels = image_files.photo(24, 32, 4)
    result = decoded(png({b"cICP": cicp(1, 13, full=0)}, pixels))
    np.testing.assert_array_equal(result[..., 3], pixels[..., 3])
    assert_near(result[..., :3], ((pixels[..., :3] - 16.0) * 255 / 219).clip(0, 255), 0.51)


P3, SRGB = {b"cICP": cicp(12, 13)}, {b"sRGB": b"\0"}
ADOBE, LINEAR = {b"iCCP": ADOBE_PROFILE}, {b"gAMA": gama(1), b"cHRM": chrm(DISPLAY_P3)}


@pytest.mark.parametrize(
    ("chunks", "decisive"),
    [
        (P3 | ADOBE | LINEAR, P3),
        (P3 | SRGB | LINEAR, P3),
        ({b"cICP": cicp(1, 13)} | ADOBE | LINEAR, {}),
        (ADOBE | LINEAR, ADOBE),
        (SRGB | LINEAR, {}),
        ({b"cICP": cicp(12, 2)} | LINEAR, LINEAR),  # 2 is unspecified
        ({b"cICP": cicp(12, 13, matrix=1)} | ADOBE, ADOBE),  # not allowed in PNG
        ({b"cICP": b"\x0c"} | ADOBE, ADOBE),
    ],
)
def test_chunks_are_ranked(chunks: dict[bytes, bytes], decisive: dict[bytes, bytes]) -> None:
    np.testing.assert_array_equal(decoded(png(chunks)), decoded(png(decisive)))


@pytest.mark.parametrize(("codes", "kind"), [((9, 16), "HDR, PQ"), ((9, 18), "HDR, HLG")])
def test_hdr_is_rejected_with_the_remedy(codes: tuple[int, int], kind: str) -> None:
    reason = rejection(png({b"cICP": cicp(*codes)}))
    assert kind in reason
    assert "save it as sRGB" in reason


@given(
    st.dictionaries(
        st.sampled_from([b"cICP", b"gAMA", b"cHRM", b"sRGB", b"iCCP"]), st.binary(max_size=40)
    )
)
def test_any_content_of_the_chunks_ends_in_an_image_or_a_rejection(
    chunks: dict[bytes, bytes],
) -> None:
    with contextlib.suppress(ImageRejectedError):
        assert decoded(png(chunks, GREY)).shape == (24, 32, 1)
