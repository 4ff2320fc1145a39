"""Feed-forward encoders: `keras.applications` networks made atrous, and custom models.

A network that halves the image five times computes features at output stride 32. For 16 or 8, the
last strides are set to 1, and every later kernel is dilated by the stride that was removed. Each
kernel then covers the same pixels as before, and the weights stay as they are (Chen et al., 2017,
DeepLabv3).
"""

import dataclasses
import os
import re
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import keras

from rnnseg.data.stalls import limited_stalls
from rnnseg.errors import UserError, first_line
from rnnseg.models import cutting
from rnnseg.models.encoder import Encoder

OUTPUT_STRIDES = (8, 16, 32)


@dataclasses.dataclass(frozen=True)
class _Network:
    """A family of networks of `keras.applications`.

    Attributes:
      constructor: the name of the constructor there.
      mean, std: the normalisation of RGB 0-255 that the weights expect.
      bgr: True if the weights expect the order blue, green, red.
      blocks: the beginnings of the names of the last layers at strides 4, 8 and 16.
      layer: the layer whose output is the features; None for the last one.
      has_alpha: True if the name may end in a width multiplier.
      options: further arguments of the constructor.
    """

    constructor: str
    mean: tuple[float, float, float]
    blocks: tuple[str, ...]
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    bgr: bool = False
    layer: str | None = None
    has_alpha: bool = False
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


_WIDEST = 8.0  # published widths are up to 1.4
_GREY = (127.5, 127.5, 127.5)
_RAW = {"include_preprocessing": False}  # the Encoder normalises, before it pads
_RESNET = ("conv2_block", "conv3_block", "conv4_block")
_EFFICIENTNET = ("block2", "block3", "block5")
_IMAGENET: dict[str, Any] = dict(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))

_NETWORKS = {
    **{
        f"resnet{depth}": _Network(f"ResNet{depth}", (123.68, 116.779, 103.939), _RESNET, bgr=True)
        for depth in (50, 101, 152)
    },
    # The 320 channels before Conv_1, as in DeepLab: a quarter of the cost of 1280 per iteration.
    "mobilenet_v2": _Network(
        "MobileNetV2",
        _GREY,
        ("block_2_", "block_5_", "block_12_"),
        _GREY,
        layer="block_16_project_BN",
        has_alpha=True,
    ),
    **{
        f"mobilenet_v3_{size}": _Network(
            f"MobileNetV3{size.capitalize()}",
            _GREY,
            tuple(f"expanded_conv{block}" for block in blocks),
            _GREY,
            has_alpha=True,
            options=_RAW,
        )
        for size, blocks in {
            "small": ("_project", "_2", "_7"),
            "large": ("_2", "_5", "_11"),
        }.items()
    },
    **{
        f"efficientnet_v2_{size}": _Network(
            f"EfficientNetV2{size.upper()}", blocks=_EFFICIENTNET, **_IMAGENET, options=_RAW
        )
        for size in ("b0", "b1", "b2", "b3")
    },
    **{
        f"efficientnet_v2_{size}": _Network(
            f"EfficientNetV2{size.upper()}",
            (128.0,) * 3,
            _EFFICIENTNET,
            (128.0,) * 3,
            options=_RAW,
        )
        for size in ("s", "m", "l")
    },
}


def names() -> list[str]:
    """Returns the names of encoders; `mobilenet_*` also take a width, as `mobilenet_v2_0.35`."""
    return [*_NETWORKS, "small_cnn"]


def build_encoder(
    encoder: str | keras.Model | Encoder,
    weights: str | os.PathLike | None = None,
    output_stride: int = 16,
    layer: str | None = None,
    kernel_regularizer: keras.Regularizer | None = None,
    dtype: str | keras.DTypePolicy | None = None,
    skip_layers: Sequence[str] | None = (),
    early_stages: int = 0,
    skip_strides: Iterable[int] = (),
) -> Encoder:
    """Builds an encoder.

    Args:
      encoder: one of `names()`, or a `keras.Model` that normalises images and computes features.
      weights: `"imagenet"` (downloaded by Keras), a weights file of the `keras.applications`
        network without its top, or None for random weights. A model brings its own.
      output_stride: input pixels per feature pixel: 8, 16 or 32.
      layer: the layer whose output is the features; None for the usual layer of the network.
      kernel_regularizer: the regularizer of dense convolutions; as in DeepLab, depthwise ones have
        none.
      dtype: the Keras dtype policy; None for the global one.
      skip_layers: as in `Encoder`; None for the last layer at each of `skip_strides`, or for none
        if the encoder is a model.
      early_stages: as in `Encoder`.
      skip_strides: some of 4, 8 and 16, the strides of the network before it is made atrous.

    Raises:
      UserError: an unknown encoder or layer, weights that do not fit, an impossible stride.
    """
    if output_stride not in OUTPUT_STRIDES:
        raise UserError(f"output stride {output_stride}: expected one of {OUTPUT_STRIDES}")
    if isinstance(encoder, keras.Model):
        if weights is not None:
            raise UserError("encoder_weights: an encoder given as a model brings its own weights")
        if getattr(encoder, _NORMALISED_OUTSIDE, False):
            raise UserError(
                f"encoder {encoder.name}: it is the network of an encoder that normalizes the "
                "images for it; give the encoder itself, such as encoder=old.encoder"
            )
        network = encoder if layer is None else cutting.up_to(encoder, layer)
        return Encoder(
            network, output_stride, skip_layers or (), early_stages, dtype=dtype, name="encoder"
        )
    if encoder == "small_cnn":
        network = _small_cnn(output_stride, kernel_regularizer, dtype)
        if weights is not None:
            _load(network, weights, encoder)
        if layer is not None:
            network = cutting.up_to(network, layer)
        if skip_layers is None:
            skip_layers = _usual_layers(network, ("stride4", "stride8", "stride16"), skip_strides)
        skips = dict(skip_layers=skip_layers, early_stages=early_stages)
        return _named_encoder(
            encoder, layer, network, output_stride, **skips, mean=_GREY, std=_GREY, dtype=dtype
        )
    family, alpha = _look_up(encoder)
    options = dict(family.options)
    if alpha is not None:
        options["alpha"] = alpha
    is_file = weights not in (None, "imagenet")
    network = _construct(encoder, family, options, None if is_file else weights)
    does_not_fit = _load_or_error(network, weights, encoder) if is_file else None
    end = layer or family.layer
    if end:
        network = cutting.up_to(network, end)
    network = _make_atrous(network, output_stride, kernel_regularizer, dtype)
    # It may be the file of an encoder's network, which ends at the layer of the features.
    if does_not_fit is not None and _load_or_error(network, weights, encoder) is not None:
        raise does_not_fit
    if skip_layers is None:
        skip_layers = _usual_layers(network, family.blocks, skip_strides)
    normalisation = dict(mean=family.mean, std=family.std, bgr=family.bgr)
    skips = dict(skip_layers=skip_layers, early_stages=early_stages)
    return _named_encoder(
        encoder, layer, network, output_stride, **skips, **normalisation, dtype=dtype
    )


# The attribute of a network that gets its images from an `Encoder` which normalizes them.
_NORMALISED_OUTSIDE = "rnnseg_normalised_outside"


def _named_encoder(encoder: str, layer: str | None, network: keras.Model, *args, **options):
    """Returns the `Encoder` of a network with a name, from which it can be built again."""
    setattr(network, _NORMALISED_OUTSIDE, True)
    built = Encoder(network, *args, **options, name="encoder")
    built.made_from = encoder, layer
    return built


def _usual_layers(network: keras.Model, blocks, strides: Iterable[int]) -> tuple[str, ...]:
    """Returns the names of the last layers at strides, from the finest, as far as there are any.

    The layer that the network ends with is left out: its output is the deepest features.
    """
    begins = dict(zip((4, 8, 16), blocks, strict=True))
    found = []
    for stride in sorted(strides):
        names = [layer.name for layer in network.layers if layer.name.startswith(begins[stride])]
        if names and names[-1] != network.layers[-1].name:
            found.append(names[-1])
    return tuple(found)


def _look_up(name) -> tuple[_Network, float | None]:
    if name in _NETWORKS:
        return _NETWORKS[name], None
    stem, _, width = str(name).rpartition("_")
    family = _NETWORKS.get(stem)
    if family is not None and family.has_alpha:
        alpha = float(width) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", width) else 0.0
        if alpha > _WIDEST:
            raise UserError(
                f"encoder {name!r}: expected a width of at most {_WIDEST} after {stem}_, such as "
                f"{stem}_0.5"
            )
        if alpha > 0:
            return family, alpha
    raise UserError(f"unknown encoder {name!r}; expected one of {', '.join(names())}, or a model")


def _construct(name, family: _Network, options, weights) -> keras.Model:
    constructor = getattr(keras.applications, family.constructor)
    arguments = dict(include_top=False, input_shape=(None, None, 3), **options)
    if weights == "imagenet":
        try:
            with warnings.catch_warnings():
                # Keras warns that the weights were trained at 224x224; any size will do here.
                warnings.filterwarnings("ignore", message="`input_shape` is undefined")
                with limited_stalls():
                    return constructor(weights="imagenet", **arguments)
        except Exception as error:
            raise UserError(
                f"the ImageNet weights of {name} cannot be downloaded ({first_line(error)}); "
                "give a weights file, or none"
            ) from error
    try:
        network = constructor(weights=None, **arguments)
    except ValueError as error:
        raise UserError(f"encoder {name}: {first_line(error)}") from error
    return network


def _load_or_error(network: keras.Model, weights, name: str) -> UserError | None:
    try:
        _load(network, weights, name)
    except UserError as error:
        return error
    return None


def _load(network: keras.Model, weights, name: str) -> None:
    path = os.fspath(weights)
    if not os.path.isfile(path):
        raise UserError(f'encoder weights {path!r}: no such file; expected a file or "imagenet"')
    try:
        with warnings.catch_warnings():
            # Keras only warns of layers that are missing in the file, and leaves them random.
            warnings.filterwarnings("error", message="Skipping")
            network.load_weights(path)
    except Exception as error:  # h5py, Keras and zipfile each have errors of their own
        raise UserError(f"encoder weights {path} do not fit {name}: {first_line(error)}") from error


def _make_atrous(network: keras.Model, output_stride, kernel_regularizer, dtype) -> keras.Model:
    """Copies a network and its weights, for any image size and for an output stride."""
    stride_before = _strides(network)
    # These pads are computed for one parity of the size; "same" padding is right for both.
    computed_pads = {
        layer.name
        for layer in network.layers
        if isinstance(layer, keras.layers.ZeroPadding2D)
        and any(isinstance(user, keras.layers.DepthwiseConv2D) for user in _users(layer))
    }

    def clone(layer):
        config = layer.get_config()
        if not isinstance(layer, keras.layers.Layer):  # an operator such as +
            return type(layer).from_config(config)
        config["dtype"] = dtype or keras.config.dtype_policy()
        if layer.name in computed_pads:
            return keras.layers.Identity(name=layer.name, dtype=config["dtype"])
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            if any(source.name in computed_pads for source in _sources(layer)):
                config["padding"] = "same"
            if stride_before[layer.name] >= output_stride:
                rate = stride_before[layer.name] // output_stride
                config["strides"] = (1, 1)
                # Dilation has no effect on a kernel of 1, but TensorFlow would still rearrange the
                # features for it and back.
                if max(config["kernel_size"]) > 1:
                    config["dilation_rate"] = (rate, rate)
        if isinstance(layer, keras.layers.Conv2D) and kernel_regularizer is not None:
            config["kernel_regularizer"] = kernel_regularizer
        return type(layer).from_config(config)

    copy = keras.models.clone_model(
        network, input_tensors=keras.Input((None, None, 3)), clone_function=clone
    )
    copy.set_weights(network.get_weights())
    return copy


def _strides(network: keras.Model) -> dict[str, int]:
    """Returns the stride of every operation's input in the original network, in input pixels."""
    before: dict[str, int] = {}
    after: dict[str, int] = {}
    for layer in network.operations:  # in topological order
        before[layer.name] = max((after[source.name] for source in _sources(layer)), default=1)
        own = getattr(layer, "strides", 1)
        after[layer.name] = before[layer.name] * (own[0] if isinstance(own, tuple) else own)
    return before


def _sources(layer) -> list:
    return [source.operation for node in layer._inbound_nodes for source in node.parent_nodes]


def _users(layer) -> list:
    return [node.operation for node in layer._outbound_nodes]


def _small_cnn(output_stride, kernel_regularizer, dtype) -> keras.Model:
    """Builds two 3x3 convolutions per stride, which train from scratch in minutes."""
    options = dict(
        padding="same", use_bias=False, kernel_regularizer=kernel_regularizer, dtype=dtype
    )
    images = keras.Input((None, None, 3))
    x, width, stride = images, 16, 1
    while stride < output_stride:
        width, stride = min(2 * width, 128), 2 * stride
        for step in (2, 1):
            name = f"stride{stride}_conv{3 - step}"
            x = keras.layers.Conv2D(width, 3, strides=step, name=name, **options)(x)
            # Keras' default momentum would need more steps than a short training has.
            x = keras.layers.BatchNormalization(momentum=0.9, dtype=dtype, name=f"{name}_bn")(x)
            x = keras.layers.ReLU(dtype=dtype, name=f"{name}_relu")(x)
    return keras.Model(images, x, name="small_cnn")
