"""An embedded data set, drawn on the fly: overlapping textured shapes on a textured background.

Colour, texture, size and position are independent of the class, so only the outline tells a disk
from a square: a pixel deep inside a shape can be classified only from pixels far away. The data set
is a small but genuine task for a network that gathers context, and it needs no download.

Seeds of `numpy.random.Generator` determine everything.
"""

import colorsys
import dataclasses
import functools
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image
from tqdm import tqdm

from rnnseg.data.source import Source

CLASS_NAMES = ("background", "disk", "square", "triangle", "ring", "star")
# The palette of Okabe and Ito, which can be told apart with any colour vision.
CLASS_COLORS = (
    (0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (204, 121, 167),
)  # fmt: skip

# Outlines with corners, as stars of (points, notch): the notches between the points lie at `notch`
# times the circumradius. In a regular polygon they lie on the sides, at cos(pi / points).
_CORNERS = {"square": (4, np.cos(np.pi / 4)), "triangle": (3, np.cos(np.pi / 3)), "star": (5, 0.45)}
# The radius of the ring's hole, as a share of its own radius.
_HOLE = 0.5
# The circumradius over the drawn radius, chosen so that all classes cover similar areas.
_REACH = {"disk": 1.0, "square": 1.15, "triangle": 1.35, "ring": 1.1, "star": 1.3}

_PATTERNS = ("stripes", "checks", "dots", "noise", "gradient")
_SPLITS = {"train": 1, "val": 2}


@dataclasses.dataclass(frozen=True)
class _Texture:
    """Two colours mixed by a pattern. Lengths are shares of the side of the image."""

    pattern: str
    colors: np.ndarray  # (2, 3), 0-255
    period: float
    angle: float  # radians, relative to the shape or the background
    lattice: np.ndarray  # (n, n), 0-1: the values that the pattern "noise" interpolates


@dataclasses.dataclass(frozen=True)
class _Shape:
    """A shape and its motion. Lengths are shares of the side of the image, times are frames."""

    kind: str
    radius: float
    center: np.ndarray  # (x, y)
    velocity: np.ndarray  # (x, y) per frame
    rotation: float  # radians
    spin: float  # radians per frame
    texture: _Texture


@dataclasses.dataclass(frozen=True)
class _Scene:
    background: _Texture
    shapes: tuple[_Shape, ...]  # later ones cover earlier ones
    light: np.ndarray  # (x, y): relative change of brightness from the centre to the border


def draw_image(seed: int | Sequence[int], size: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """Draws one image of two or three shapes.

    Args:
      seed: determines the image; any seed of `numpy.random.default_rng`.
      size: height and width in pixels. The same seed gives the same scene at every size.

    Returns:
      The image, `(size, size, 3)` uint8, RGB, and its labels, `(size, size)` uint8, indices into
      `CLASS_NAMES`. No pixel is ignored.
    """
    images, labels = draw_clip(seed, frames=1, size=size)
    return images[0], labels[0]


def draw_clip(
    seed: int | Sequence[int], frames: int = 12, size: int = 96
) -> tuple[np.ndarray, np.ndarray]:
    """Draws a clip: the shapes of `draw_image(seed)` glide, turn and bounce off the border.

    Args:
      seed: determines the clip; any seed of `numpy.random.default_rng`.
      frames: the number of frames; the first is `draw_image(seed, size)`.
      size: height and width in pixels.

    Returns:
      The images, `(frames, size, size, 3)` uint8, RGB, and their labels, `(frames, size, size)`
      uint8.
    """
    rng = np.random.default_rng(seed)
    scene = _compose(rng)
    images = np.empty((frames, size, size, 3), np.uint8)
    labels = np.empty((frames, size, size), np.uint8)
    for frame in range(frames):
        image, labels[frame] = _render(scene, frame, size)
        image += rng.normal(0, 4, image.shape)  # camera noise, drawn anew for every frame
        images[frame] = np.clip(np.rint(image), 0, 255)
    return images, labels


def source(train: int = 2000, val: int = 100, seed: int = 0, size: int = 96) -> Source:
    """Makes the embedded data set.

    Image `i` of a split is `draw_image((seed, 1, i))` for "train" and `draw_image((seed, 2,
    i))` for "val". A split is drawn when it is first read. The source then keeps it, encoded.

    Args:
      train: the number of training images.
      val: the number of validation images.
      seed: determines all images.
      size: height and width of the images in pixels.

    Returns:
      The source "shapes" with the splits "train" and "val".
    """

    @functools.cache
    def draw(split):
        columns: dict[str, list] = {"image": [], "label": [], "name": []}
        # The bar shows only if drawing takes longer than a second.
        for index in tqdm(
            range(sizes[split]), f"drawing {split}", unit="image", delay=1, disable=None
        ):
            image, label = draw_image((seed, _SPLITS[split], index), size)
            columns["image"].append(_encode(image))
            columns["label"].append(_encode(label))
            columns["name"].append(f"{split}_{index:05d}")
        return columns

    def read(split):
        import tensorflow as tf

        result.require_split(split)
        return tf.data.Dataset.from_tensor_slices(draw(split))

    sizes = {"train": train, "val": val}
    result = Source("shapes", CLASS_NAMES, CLASS_COLORS, sizes, read)
    return result


def _encode(pixels: np.ndarray) -> bytes:
    """Encodes an RGB image or an 8-bit label map as PNG."""
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG", compress_level=1)
    return data.getvalue()


def _compose(rng: np.random.Generator) -> _Scene:
    """Draws the random contents of a scene and their motion."""
    background = _draw_texture(rng, [])
    textures = [background]
    shapes: list[_Shape] = []
    for _ in range(rng.integers(2, 4)):
        texture = _draw_texture(rng, textures)
        textures.append(texture)
        radius = rng.uniform(0.15, 0.28)
        heading, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0.01, 0.03)
        shapes.append(
            _Shape(
                kind=CLASS_NAMES[rng.integers(1, len(CLASS_NAMES))],
                radius=radius,
                center=_draw_center(rng, radius, shapes),
                velocity=speed * np.array([np.cos(heading), np.sin(heading)]),
                rotation=rng.uniform(0, 2 * np.pi),
                spin=rng.uniform(-0.06, 0.06),
                texture=texture,
            )
        )
    return _Scene(background, tuple(shapes), light=rng.uniform(-0.15, 0.15, 2))


def _draw_center(rng: np.random.Generator, radius: float, shapes: list[_Shape]) -> np.ndarray:
    """Draws a centre for a new shape that leaves enough of the others visible."""
    places = rng.uniform(0.6 * radius, 1 - 0.6 * radius, (16, 2))
    # The distance to the nearest shape, in sums of both radii: below 1 the two overlap.
    room = np.full(len(places), np.inf)
    for shape in shapes:
        distance = np.linalg.norm(places - shape.center, axis=1) / (radius + shape.radius)
        room = np.minimum(room, distance)
    enough = np.flatnonzero(room > 0.75)
    return places[enough[0] if enough.size else room.argmax()]


def _draw_texture(rng: np.random.Generator, others: list[_Texture]) -> _Texture:
    """Draws a random texture whose colours differ from those of the other textures."""
    drawn = []
    for _ in range(10):
        hue, saturation, value = rng.uniform((0, 0.2, 0.25), (1, 0.9, 1))
        color = 255 * np.array(colorsys.hsv_to_rgb(hue, saturation, value))
        # The second colour is the first one made lighter or darker, whichever leaves more room.
        end = 0.0 if color.mean() > 128 else 255.0
        drawn.append([color, color + rng.uniform(0.3, 0.5) * (end - color)])
    candidates = np.array(drawn)
    if others:
        used = np.concatenate([texture.colors for texture in others])
        apart = np.linalg.norm(candidates[:, :, None] - used, axis=-1).min(axis=(1, 2))
        colors = candidates[apart.argmax()]
    else:
        colors = candidates[0]
    return _Texture(
        pattern=_PATTERNS[rng.integers(len(_PATTERNS))],
        colors=colors.astype(np.float32),
        period=rng.uniform(0.06, 0.13),
        angle=rng.uniform(0, 2 * np.pi),
        lattice=rng.random((32, 32), np.float32),
    )


def _render(scene: _Scene, time: float, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Renders the scene at one point in time.

    Returns:
      The image without noise, `(size, size, 3)` float32, about 0-255, and its labels,
      `(size, size)` uint8.
    """
    centers = np.arange(size, dtype=np.float32) + 0.5  # of the pixels
    x, y = centers[None, :], centers[:, None]
    image = _paint(scene.background, x - size / 2, y - size / 2, reach=size / 2, size=size)
    label = np.zeros((size, size), np.uint8)
    for shape in scene.shapes:
        # Reflected at 0 and 1: half of a shape may leave the image before it comes back.
        center = size * (1 - np.abs(1 - (shape.center + time * shape.velocity) % 2))
        reach = size * shape.radius * _REACH[shape.kind]
        low = np.clip(np.floor(center - reach - 1), 0, size).astype(int)
        high = np.clip(np.ceil(center + reach + 1), 0, size).astype(int)
        window = slice(low[1], high[1]), slice(low[0], high[0])
        u, v = _turn(
            x[:, window[1]] - center[0],
            y[window[0]] - center[1],
            -(shape.rotation + time * shape.spin),
        )
        distance = signed_distance(shape.kind, u, v, reach)
        # The shape's share of a border pixel, within a few percent, so supersampling is not needed.
        share = np.clip(0.5 - distance, 0, 1)[..., None]
        image[window] += share * (_paint(shape.texture, u, v, reach, size) - image[window])
        label[window][distance < 0] = CLASS_NAMES.index(shape.kind)
    slope = np.float32(2 / size) * scene.light.astype(np.float32)
    image *= (1 + slope[0] * (x - size / 2) + slope[1] * (y - size / 2))[..., None]
    return image, label


def signed_distance(kind: str, x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    """Returns the signed distance of points to an outline around the origin.

    Args:
      kind: one of `CLASS_NAMES` except "background".
      x: coordinates in pixels, of any shape.
      y: coordinates in pixels, of the same shape.
      radius: the radius of the circumscribed circle, in pixels. Shapes with corners have one at
        (radius, 0).

    Returns:
      Pixels to the outline, negative inside. The distance is exact along the sides; beyond a corner
      it is the distance to the extended sides.
    """
    from_center = np.hypot(x, y)
    if kind == "disk":
        return from_center - radius
    if kind == "ring":
        middle, half_width = radius * (1 + _HOLE) / 2, radius * (1 - _HOLE) / 2
        return np.abs(from_center - middle) - half_width
    points, notch = _CORNERS[kind]
    # By symmetry, all sides are copies of one: fold the plane onto the wedge between the point at
    # angle 0 and the notch at angle pi / points.
    wedge = np.float32(np.pi / points)
    angle = np.abs((np.arctan2(y, x) + wedge) % (2 * wedge) - wedge)
    along = np.array([notch * np.cos(wedge) - 1, notch * np.sin(wedge)])
    normal = (np.array([along[1], -along[0]]) / np.linalg.norm(along)).astype(np.float32)
    return (from_center * np.cos(angle) - np.float32(radius)) * normal[0] + from_center * np.sin(
        angle
    ) * normal[1]


def _paint(texture: _Texture, x: np.ndarray, y: np.ndarray, reach: float, size: int) -> np.ndarray:
    """Returns the colours of a texture at points relative to the centre of its shape or image.

    Edges inside the patterns are ramps of about one pixel, which avoids aliasing.

    Args:
      texture: the texture.
      x: coordinates in pixels, of a shape that broadcasts to `(h, w)` with that of `y`.
      y: coordinates in pixels.
      reach: the distance in pixels at which a gradient ends.
      size: the side of the image in pixels.

    Returns:
      `(h, w, 3)` float32.
    """
    u, v = _turn(x, y, texture.angle)
    period = np.float32(texture.period * size)
    wave = np.float32(2 * np.pi) / period
    if texture.pattern == "stripes":
        mix = 0.5 + np.sin(wave * u) / wave
    elif texture.pattern == "checks":
        mix = 0.5 + np.sin(wave / 2 * u) * np.sin(wave / 2 * v) * 2 / wave
    elif texture.pattern == "dots":
        mix = 0.5 + 0.32 * period - np.hypot(u % period - period / 2, v % period - period / 2)
    elif texture.pattern == "noise":
        mix = _interpolate(texture.lattice, 2 * u / period, 2 * v / period)
    else:
        mix = 0.5 + u / np.float32(2 * reach)
    first, second = texture.colors
    return first + np.clip(mix, 0, 1)[..., None] * (second - first)


def _turn(x: np.ndarray, y: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Rotates coordinates about the origin by an angle in radians; returns float32."""
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    x, y = np.asarray(x, np.float32), np.asarray(y, np.float32)
    return cos * x - sin * y, sin * x + cos * y


def _interpolate(lattice: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Interpolates a periodic square lattice smoothly at points in units of its spacing."""
    column, row = np.floor(x).astype(np.int32), np.floor(y).astype(np.int32)
    x, y = x - column, y - row
    # The slope is zero at the lattice points, which avoids creases.
    x, y = x * x * (3 - 2 * x), y * y * (3 - 2 * y)
    count = len(lattice)
    left, right = column % count, (column + 1) % count
    top, bottom = row % count, (row + 1) % count
    above = lattice[top, left] * (1 - x) + lattice[top, right] * x
    below = lattice[bottom, left] * (1 - x) + lattice[bottom, right] * x
    return above * (1 - y) + below * y
