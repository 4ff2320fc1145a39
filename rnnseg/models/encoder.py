"""The encoder: a network with its normalisation and padding, run at once or in stages."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from rnnseg.errors import UserError, first_line
from rnnseg.models import cutting, geometry
from rnnseg.models.inspection import InspectedLayer

DEEPEST = "deepest"
"""The name of the deepest features among those of `Encoder`."""

MEAN = "mean"
"""The name of the mean of the deepest features of a whole image, beside the features of a part."""

MEAN_GREY = 127.5
"""The value of every channel in the padding of images whose encoder names no mean colour."""

Features = Mapping[str, tf.Tensor]
"""Features of several depths by the names of their layers, those of the last layer as `DEEPEST`."""


class Depth(NamedTuple):
    """Features of one depth of an encoder.

    Attributes:
      name: the name of the layer, or `DEEPEST`.
      channels: their number of channels.
      stride: input pixels per feature pixel.
    """

    name: str
    channels: int
    stride: int


def check_strides(depths: Sequence[Depth], canvas_stride: int) -> None:
    """Raises a UserError for features that the canvas has no room for.

    Args:
      depths: the features of all depths.
      canvas_stride: input pixels per canvas pixel.
    """
    for depth in depths:
        if depth.stride % canvas_stride:
            raise UserError(
                f"skip layer {depth.name} has stride {depth.stride}: expected a multiple of the "
                f"canvas stride, {canvas_stride}"
            )


class Encoder(InspectedLayer):
    """A network together with its normalisation, padding and output stride.

    It can be run in stages, each of which computes the features of further depths.

    Args:
      network: a model from `(batch, H, W, 3)` to features `(batch, h, w, channels)`, with
        `h = k + 1` for `H = k * output_stride + 1`.
      output_stride: input pixels per pixel of the deepest features: 8, 16 or 32.
      skip_layers: inner layers whose outputs are features, too, from the shallowest.
      early_stages: the number of stages before the last. Each of the last `early_stages` skip
        layers ends one.
      mean: the colour that is subtracted from RGB 0-255; None for no normalisation.
      std: the divisor of the difference.
      bgr: True if the network expects the order blue, green, red.

    Raises:
      UserError: the network's features have another stride, or an unknown width; unknown or
        unordered skip layers; more early stages than skip layers.

    Attributes:
      made_from: the name of the encoder and the given layer; None for a custom model.
      depths: the `Depth` of all features, from the shallowest.
      stages: the names of the features of every stage.
    """

    made_from: tuple[str, str | None] | None = None

    def __init__(
        self,
        network: keras.Model,
        output_stride: int,
        skip_layers: Sequence[str] = (),
        early_stages: int = 0,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        bgr: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)  # bfloat16 cannot hold RGB 0-255
        self.network = network
        self.output_stride = output_stride
        self.mean, self.std, self.bgr = mean, std, bgr
        side = 8 * output_stride + 1
        try:
            shape = network.compute_output_shape((1, side, side, 3))
        except ValueError as error:
            raise UserError(
                f"encoder {network.name} does not take images of every size "
                f"({first_line(error)}); expected an input of keras.Input((None, None, 3))"
            ) from error
        if len(shape) != 4 or shape[3] is None:
            raise UserError(
                f"encoder {network.name} gives an output of shape {shape}; "
                "expected features (batch, h, w, channels)"
            )
        if tuple(shape[1:3]) != (9, 9):
            raise UserError(
                f"encoder {network.name} gives {shape[1]}x{shape[2]} features for a {side}x{side} "
                f"image; expected 9x9 at output_stride={output_stride}: choose the output stride "
                'that the network has, and "same" padding'
            )
        self.channels = shape[3]
        if early_stages > len(skip_layers):
            raise UserError(
                f"{early_stages} stages of the encoder before the last: expected at most one per "
                f"skip layer, and there are {len(skip_layers)}"
            )
        self._check_order(skip_layers)
        deepest = Depth(DEEPEST, self.channels, output_stride)
        self.depths = (*self._skip_depths(skip_layers, side), deepest)
        cuts = len(skip_layers) - early_stages
        ends = [tuple(skip_layers[: cuts + 1]) if early_stages else tuple(skip_layers)]
        ends += [(each,) for each in skip_layers[cuts + 1 :]] + ([()] if early_stages else [])
        self.stages = (*ends[:-1], (*ends[-1], DEEPEST))
        self._run = _Networks(network, ends)
        self.build((None, None, None, 3))

    def build(self, images_shape: Sequence[int | None]) -> None:
        """Creates nothing: the network has its weights."""
        self.built = True

    def _check_order(self, skip_layers: Sequence[str]) -> None:
        for name in skip_layers:
            cutting.check_layer(self.network, name)
        order = [operation.name for operation in self.network.operations]
        expected = sorted(set(skip_layers), key=order.index)
        if list(skip_layers) != expected:
            raise UserError(
                f"skip layers {', '.join(skip_layers)}: expected each once, from the shallowest: "
                f"{', '.join(expected)}"
            )

    def _skip_depths(self, skip_layers: Sequence[str], side: int) -> list[Depth]:
        if not skip_layers:
            return []
        network = cutting.with_outputs(self.network, skip_layers, DEEPEST)
        shapes = network.compute_output_shape((1, side, side, 3))
        depths = []
        for name in skip_layers:
            shape = shapes[name]
            # A stride above the output stride leaves fewer steps than the deepest features have, 8.
            steps = shape[1] - 1 if len(shape) == 4 and shape[1] == shape[2] else 0
            if steps < 8 or (side - 1) % steps:
                raise UserError(
                    f"skip layer {name} gives an output of shape {shape} for a {side}x{side} "
                    "image; expected features (1, k + 1, k + 1, channels), with a stride that "
                    f"divides {self.output_stride}"
                )
            depths.append(Depth(name, shape[3], (side - 1) // steps))
        return depths

    def call(self, images: np.ndarray | tf.Tensor, training: bool = False) -> dict[str, tf.Tensor]:
        """Normalises, pads to `k * output_stride + 1` pixels, and encodes.

        Args:
          images: RGB 0-255, uint8 or float, `(batch, H, W, 3)`.
          training: True if batch norm and dropout are in training mode.

        Returns:
          Features by name, `(batch, h, w, channels)` each, with `h = ceil((H - 1) / output_stride)
          * output_stride / stride + 1`.
        """
        return self._run.all(self._normalized(images), training)

    def run_stage(self, number: int, inputs: Any) -> dict[str, tf.Tensor]:
        """Runs one stage for inference.

        Args:
          number: the number of the stage, from 0.
          inputs: images as in `call` for stage 0, else the result of the stage before.

        Returns:
          The features of this stage by name, and tensors that the next stage needs, under the names
          of other layers.
        """
        if number == 0:
            inputs = self._normalized(inputs)
        return self._run.stage(number, inputs)

    def _normalized(self, images):
        images = tf.cast(images, tf.float32)
        pad_value = MEAN_GREY
        if self.mean is not None:
            images = (images - tf.constant(self.mean)) / tf.constant(self.std)
            pad_value = 0.0  # the mean colour
        if self.bgr:
            images = images[..., ::-1]
        return geometry.pad_to_grid(images, self.output_stride, pad_value)


class _Networks:
    """The networks of an encoder's stages. Keras tracks their layers as those of `network` alone.

    Args:
      network: the whole network.
      ends: the skip layers of every stage.
    """

    def __init__(self, network: keras.Model, ends: Sequence[Sequence[str]]):
        self._network = network
        self._parts = cutting.parts(network, ends, DEEPEST) if len(ends) > 1 else []
        self._several = network
        if any(ends):
            skips = [name for names in ends for name in names]
            self._several = cutting.with_outputs(network, skips, DEEPEST)

    def all(self, images, training):
        features = self._several(images, training=training)
        return features if isinstance(features, dict) else {DEEPEST: features}

    def stage(self, number, inputs):
        if not self._parts:
            return self.all(inputs, training=False)
        part = self._parts[number]
        needed = [inputs[name] for name in part.needed] if number else inputs
        found = part.network(needed, training=False)
        carried = {name: inputs[name] for name in part.carried if name not in found}
        return found | carried
