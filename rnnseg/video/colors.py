"""Colours of frames as a standard display shows them: HDR and wide gamuts become plain RGB.

High dynamic range (HDR) comes as PQ (SMPTE ST 2084) or HLG (ARIB STD-B67), mostly with the
primaries of BT.2020. Taken for standard RGB, it is pale and flat. The conversion, by the formulas
of the ITU:

1. Light of each channel: PQ's and HLG's functions (BT.2100-2, tables 4 and 5). HLG is shown with a
   peak of 1000 cd/m2 and a system gamma of 1.2. The gamma is applied to each channel, as in a
   standard camera and in FFmpeg's filter zscale; BT.2100 applies it to the luminance, which gives
   less saturated colours than those of the images that models are trained on.
2. White: 203 cd/m2, the reference white of HDR (BT.2408-7), becomes the white of the image.
3. Primaries: a matrix from the chromaticities of both (BT.2087-0 for BT.2020); what BT.709 cannot
   show is clipped.
4. Tone mapping: what is brighter than white is compressed by the curve of BT.2390-11, section 5.4,
   from the peak of the frame to white, by one factor for all channels of a pixel. Peaks are
   measured, since files often state none or a wrong one. A frame without highlights keeps its
   tones.
5. RGB values by sRGB's function (IEC 61966-2-1).
"""

import functools

import av
import cv2
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc
from PIL import Image

from rnnseg.data.images import on_white

_WHITE = 203.0  # cd/m2, BT.2408
_HLG_PEAK, _HLG_GAMMA = 1000.0, 1.2  # BT.2100, table 5
_PQ_PEAK = 10000.0

_TRANSFERS = {int(ColorTrc.SMPTE2084): "PQ", int(ColorTrc.ARIB_STD_B67): "HLG"}

# The chromaticities x, y of red, green, blue, by the numbers of ITU-T H.273; all have white D65.
_PRIMARIES = {
    int(ColorPrimaries.BT709): ("BT.709", ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))),
    int(ColorPrimaries.BT2020): ("BT.2020", ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))),
    int(ColorPrimaries.SMPTE432): ("P3", ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))),
}
_D65 = (0.3127, 0.3290)

# Matrix coefficients of ITU-T H.273 that FFmpeg's scaler refuses, and those that it knows.
_REFUSED_MATRICES = {
    8: "YCgCo",
    10: "BT.2020 with constant luminance",
    11: "Y'D'zD'x",
    12: "derived from the chromaticities",
    13: "derived from the chromaticities, with constant luminance",
    14: "ICtCp",
    15: "IPT-C2",
    16: "YCgCo-Re",
    17: "YCgCo-Ro",
}
_KNOWN_MATRICES = (0, 1, 2, 4, 5, 6, 7, 9)
_UNSPECIFIED = 2

# The share of the pixels that may be brighter than the measured peak, such as single reflections.
_ABOVE_PEAK = 0.0005

# A peak that falls is followed by this share of the difference per frame, so that nothing flickers.
_FALL = 0.1

# The number of points at which the curve of tone mapping is computed.
_STEPS = 4096

# Pixels of a frame are converted in bands of about so many, so that little memory is needed.
_BAND = 2**19


def describe_colors(frame: av.VideoFrame) -> tuple[str | None, str | None]:
    """Returns what is done to the colours of a frame, and what is wrong with them, in a line each.

    Args:
      frame: a frame of PyAV.

    Returns:
      The conversion and the problem; None for each that there is not.
    """
    coded = _REFUSED_MATRICES.get(int(frame.colorspace))
    transfer, primaries = _TRANSFERS.get(int(frame.color_trc)), _primaries(frame)
    if transfer is None and "DOVI_METADATA" in frame.side_data:
        coded = "Dolby Vision without a standard layer"
    if coded is not None:
        return None, (
            f"its colours are coded as {coded}, which cannot be read here, so that they are wrong: "
            "convert it to BT.709 first"
        )
    if transfer is not None:
        name = _PRIMARIES[primaries][0]
        return f"HDR ({transfer}, {name}) is tone-mapped to the standard range (BT.709)", None
    if primaries != ColorPrimaries.BT709:
        return f"the colours of {_PRIMARIES[primaries][0]} are converted to those of BT.709", None
    return None, None


class FrameColors:
    """Converts the frames of one video, in their order, to RGB of the standard range.

    The peak of highlights follows the video: it rises at once, and falls slowly.
    """

    def __init__(self) -> None:
        self._peak = 0.0

    def rgb(self, frame: av.VideoFrame) -> np.ndarray:
        """Returns a frame as RGB of the standard range, uint8 `(height, width, 3)`, as stored.

        Where pixels are transparent, they are blended with white, as in images.

        Args:
          frame: a frame of PyAV.
        """
        image = self._opaque(frame)
        pixels = frame.format
        if not (pixels.has_palette or any(each.is_alpha for each in pixels.components)):
            return image
        opacity = _converted(frame, "rgba")[..., 3:]
        return on_white(Image.fromarray(np.concatenate([image, opacity], -1)))

    def _opaque(self, frame) -> np.ndarray:
        primaries, is_hdr = _primaries(frame), int(frame.color_trc) in _TRANSFERS
        transfer = int(frame.color_trc) if is_hdr else None
        if not is_hdr and primaries == ColorPrimaries.BT709:
            return _converted(frame, "rgb24")
        # Planes, since PyAV 17.0 gives wrong colours for 16 bits in one plane.
        coded = _converted(frame, "gbrp16le")
        light = _light(transfer, _white_code(frame))
        matrix = matrix_to_bt709(primaries)
        self._follow_peak(_linear(coded[::4, ::4], light, matrix))
        image = np.empty(coded.shape, np.uint8)
        rows = max(1, _BAND // coded.shape[1])
        for top in range(0, len(coded), rows):
            linear = _linear(coded[top : top + rows], light, matrix)
            compress_highlights(linear, self._peak)
            np.clip(linear, 0, 1, out=linear)
            codes = np.rint(np.multiply(linear, 65535, out=linear), out=linear).astype(np.uint16)
            image[top : top + rows] = _srgb_codes()[codes]
        return image

    def _follow_peak(self, linear) -> None:
        brightest = _brightest(linear).ravel()
        rank = int((1 - _ABOVE_PEAK) * (len(brightest) - 1))
        peak = float(np.partition(brightest, rank)[rank])
        self._peak = max(peak, self._peak + _FALL * (peak - self._peak))


def pq_light(codes: np.ndarray) -> np.ndarray:
    """Returns the light that PQ codes of 0-1 stand for, in cd/m2 (BT.2100-2, table 4, EOTF)."""
    m1, m2, c1, c2, c3 = _PQ
    root = np.power(codes, 1 / m2)
    return _PQ_PEAK * np.power(np.maximum(root - c1, 0) / (c2 - c3 * root), 1 / m1)


def pq_codes(light: np.ndarray | float) -> np.ndarray:
    """Returns the PQ codes of 0-1 for light in cd/m2, the inverse of `pq_light`."""
    m1, m2, c1, c2, c3 = _PQ
    power = np.power(np.maximum(light, 0) / _PQ_PEAK, m1)
    return np.power((c1 + c2 * power) / (1 + c3 * power), m2)


_PQ = (2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32)


def hlg_light(codes: np.ndarray) -> np.ndarray:
    """Returns the light that HLG codes of 0-1 stand for on a display of 1000 cd/m2.

    The inverse OETF of BT.2100-2, table 5, and the system gamma on each channel.
    """
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(codes <= 0.5, codes**2 / 3, (np.exp((codes - c) / a) + b) / 12)
    return _HLG_PEAK * scene**_HLG_GAMMA


def compress_highlights(linear: np.ndarray, peak: float) -> None:
    """Compresses what is brighter than white, in place, by the curve of BT.2390.

    Args:
      linear: light of red, green and blue, `(..., 3)`, in which 1 is white.
      peak: the brightest light, likewise. Up to 1, nothing is changed.
    """
    if peak <= 1:
        return
    source = pq_codes(peak * _WHITE)
    most = pq_codes(_WHITE) / source  # white, on a scale on which the peak is 1
    knee = 1.5 * most - 0.5
    start = pq_light(knee * source) / _WHITE
    light = np.linspace(start, peak, _STEPS)
    t = (pq_codes(light * _WHITE) / source - knee) / (1 - knee)
    mapped = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (-2 * t**3 + 3 * t**2) * most
    )
    factors = pq_light(mapped * source) / _WHITE / light
    brightest = _brightest(linear)
    above = brightest > start
    # Above the peak, the factor of the peak: such pixels are clipped at white.
    factor = np.interp(brightest[above], light, factors)
    linear[above] *= factor[:, np.newaxis].astype(linear.dtype)


def _brightest(linear: np.ndarray) -> np.ndarray:
    """Returns the largest of red, green and blue; much faster than `max` along the last axis."""
    return np.maximum(np.maximum(linear[..., 0], linear[..., 1]), linear[..., 2])


@functools.cache
def matrix_to_bt709(primaries: int) -> np.ndarray:
    """Returns the matrix from linear RGB of some primaries to linear RGB of BT.709, `(3, 3)`.

    Args:
      primaries: the number in ITU-T H.273.
    """
    return np.linalg.inv(_to_xyz(ColorPrimaries.BT709)) @ _to_xyz(primaries)


def _to_xyz(primaries: int) -> np.ndarray:
    """Returns the matrix from linear RGB to CIE XYZ (SMPTE RP 177)."""
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in _PRIMARIES[int(primaries)][1]]).T
    x, y = _D65
    return columns * np.linalg.solve(columns, [x / y, 1, (1 - x - y) / y])


def _primaries(frame) -> int:
    """Returns the number of the primaries; BT.2020 for HDR of unknown ones, else BT.709."""
    primaries = int(frame.color_primaries)
    if primaries in _PRIMARIES:
        return primaries
    is_hdr = int(frame.color_trc) in _TRANSFERS
    return int(ColorPrimaries.BT2020 if is_hdr else ColorPrimaries.BT709)


def _converted(frame, pixels: str) -> np.ndarray:
    """Returns a frame in another format, by FFmpeg's scaler."""
    described = frame.color_trc, frame.color_primaries, frame.colorspace
    # The scaler needs none of the first two, and refuses values that it does not know.
    frame.color_trc = frame.color_primaries = _UNSPECIFIED
    if int(frame.colorspace) not in _KNOWN_MATRICES:
        frame.colorspace = _UNSPECIFIED
    try:
        return frame.to_ndarray(format=pixels)
    finally:
        frame.color_trc, frame.color_primaries, frame.colorspace = described


def _white_code(frame) -> int:
    """Returns the 16-bit code that FFmpeg's scaler makes of the largest code of a frame.

    It moves bits to the left, which leaves the lowest ones empty; codes of the limited range of
    video end at 255 * 256.
    """
    if not frame.format.is_rgb and frame.color_range != ColorRange.JPEG:
        return 255 * 256
    bits = frame.format.components[0].bits
    return (2**bits - 1) << (16 - bits)


@functools.cache
def _light(transfer: int | None, white: int) -> np.ndarray:
    """Returns the light of every 16-bit code, in which 1 is white, float32 `(65536,)`."""
    codes = np.minimum(np.arange(65536) / white, 1)
    if transfer == ColorTrc.SMPTE2084:
        light = pq_light(codes) / _WHITE
    elif transfer == ColorTrc.ARIB_STD_B67:
        light = hlg_light(codes) / _WHITE
    else:
        light = np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)


@functools.cache
def _srgb_codes() -> np.ndarray:
    """Returns the 8-bit code of sRGB of light in 65535 steps, uint8 `(65536,)`."""
    light = np.arange(65536) / 65535
    codes = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * codes).astype(np.uint8)


def _linear(coded, light, matrix) -> np.ndarray:
    """Returns the light of BT.709's primaries, float32 `(h, w, 3)`; negative outside its gamut."""
    return cv2.transform(light[coded], matrix)
