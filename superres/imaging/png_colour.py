"""The colour space that the chunks of a PNG name, as PNG's third edition ranks them.

cICP comes before iCCP, iCCP before sRGB, sRGB before gAMA and cHRM. libvips reads only iCCP.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from superres.errors import ImageRejectedError
from superres.imaging.icc import SRGB, SRGB_CURVE, Chromaticities, Curve, grey_profile, rgb_profile

_D65 = (0.3127, 0.3290)
_BT709 = SRGB
_BT601_625 = Chromaticities((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), _D65)
_BT601_525 = Chromaticities((0.63, 0.34), (0.31, 0.595), (0.155, 0.07), _D65)
_BT2020 = Chromaticities((0.708, 0.292), (0.17, 0.797), (0.131, 0.046), _D65)
_DCI_P3 = Chromaticities((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), (0.314, 0.351))
_DISPLAY_P3 = Chromaticities((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), _D65)
# Code points of ITU-T H.273. Its transfer functions 1, 6, 14 and 15 are one.
_PRIMARIES = {
    1: _BT709,
    5: _BT601_625,
    6: _BT601_525,
    7: _BT601_525,
    9: _BT2020,
    11: _DCI_P3,
    12: _DISPLAY_P3,
}
_BT709_CURVE = Curve(gamma=1 / 0.45, a=1 / 1.099, b=0.099 / 1.099, slope=1 / 4.5, start=0.081)
_CURVES = {
    **dict.fromkeys((1, 6, 14, 15), _BT709_CURVE),
    4: Curve(gamma=2.2),
    5: Curve(gamma=2.8),
    8: Curve(gamma=1.0),
    13: SRGB_CURVE,
    17: Curve(gamma=2.6),
}
_HDR = {16: "PQ", 18: "HLG"}
# As libpng does: PNG has writers of sRGB put 1/2.2 beside it, so within 5 % of that the samples are
# sRGB's, whose curve is near but not equal.
_GAMMA_OF_SRGB, _SAME_GAMMA = 0.45455, 0.05
_SAME_CHROMATICITY = 0.01
_USUAL_GAMMAS = (0.1, 10)  # a value outside is a writer's fault


@dataclass(frozen=True)
class ColourSpace:
    """What the samples of a PNG mean.

    Attributes:
        chromaticities: of the primaries.
        curve: from samples to light.
        narrow: samples go from 16 to 235 (of 255) as in video.
    """

    chromaticities: Chromaticities
    curve: Curve
    narrow: bool = False

    def profile(self, *, grey: bool) -> bytes | None:
        """An ICC profile for it; None if it is sRGB."""
        if self.curve == SRGB_CURVE and (grey or self.chromaticities == _BT709):
            return None
        return grey_profile(self.curve) if grey else rgb_profile(self.chromaticities, self.curve)


def colour_space(chunks: Mapping[bytes, bytes]) -> ColourSpace | None:
    """The colour space that the chunks name; None if it is that of iCCP, or sRGB without iCCP.

    Raises:
        ImageRejectedError: cICP names one that is not converted.
    """
    coded = chunks.get(b"cICP", b"")
    if len(coded) == 4 and coded[2] == 0 and 2 not in coded[:2]:  # 2 is unspecified
        return _coded_space(*coded)
    if b"iCCP" in chunks or b"sRGB" in chunks:
        return None
    return _measured_space(chunks)


def _coded_space(primaries: int, transfer: int, _: int, full_range: int) -> ColourSpace:
    if primaries not in _PRIMARIES or transfer not in _CURVES:
        kind = f" (HDR, {_HDR[transfer]})" if transfer in _HDR else ""
        named = f"primaries {primaries} and transfer {transfer}{kind}"
        raise ImageRejectedError(
            f"the PNG's cICP chunk names {named}, which are not converted; save it as sRGB"
        )
    return ColourSpace(_PRIMARIES[primaries], _CURVES[transfer], narrow=full_range == 0)


def _measured_space(chunks: Mapping[bytes, bytes]) -> ColourSpace | None:
    """The colour space of gAMA and cHRM; values that make no sense count as missing."""
    gamma = _gamma(chunks.get(b"gAMA", b""))
    chromaticities = _chromaticities(chunks.get(b"cHRM", b"")) or _BT709
    is_srgb_curve = gamma is None or abs(gamma / _GAMMA_OF_SRGB - 1) <= _SAME_GAMMA
    if gamma is None or (is_srgb_curve and chromaticities == _BT709):
        return None if chromaticities == _BT709 else ColourSpace(chromaticities, SRGB_CURVE)
    return ColourSpace(chromaticities, Curve(gamma=1 / gamma))


def _gamma(content: bytes) -> float | None:
    if len(content) != 4:
        return None
    gamma = float(struct.unpack(">I", content)[0] / 100_000)
    return gamma if _USUAL_GAMMAS[0] <= gamma <= _USUAL_GAMMAS[1] else None


def _chromaticities(content: bytes) -> Chromaticities | None:
    if len(content) != 32:
        return None
    values = [value / 100_000 for value in struct.unpack(">8I", content)]
    white, red, green, blue = zip(values[::2], values[1::2], strict=True)
    measured = Chromaticities(red, green, blue, white)
    try:
        rgb_profile(measured, SRGB_CURVE)
    except ValueError:
        return None
    usual = (*_BT709.white, *_BT709.red, *_BT709.green, *_BT709.blue)
    near = all(abs(a - b) <= _SAME_CHROMATICITY for a, b in zip(values, usual, strict=True))
    return _BT709 if near else measured
