"""The options of the models, declared once, without TensorFlow.

The constructors of the models, `rnnseg.training.TrainingConfig`, `rnnseg train` and `rnnseg cost`
all take their names, defaults, ranges and help texts from here.
"""

import dataclasses
import itertools
import math
import os
from collections.abc import Mapping
from typing import Any, ClassVar

from rnnseg.errors import UserError
from rnnseg.options import MOST_ITERATIONS, check_options, checked, option

_WIDEST = 4096  # channels of any layer
# Of ConvLSTM layers: a gigabyte in float32, and four more in training. The paper's have 2 million.
_MOST_PARAMETERS = 2**28


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """The options that all models share.

    Attributes:
      encoder: a name from `rnnseg.models.encoders.names()`, such as "resnet101" or
        "mobilenet_v2_0.5"; the `encoder` of another model, which is copied; or a `keras.Model` from
        RGB 0-255 images to features.
      encoder_weights: "imagenet"; a weights file; a run or a `.keras` file, whose encoder's weights
        are taken; or None for random weights. A model or an `Encoder` brings its own.
      output_stride: input pixels per pixel of the deepest features: 8, 16 or 32.
      encoder_layer: the inner layer whose output is the features; None: the usual layer of the
        encoder.
      train_encoder: True if training changes the encoder's weights.
      freeze_batch_norm: True if the encoder's batch norm keeps its statistics, scale and offset in
        training.
      l2: weight decay of convolution kernels by a penalty in the loss: l2 / 2 times the sum of
        squares, whose gradient is l2 times the kernel, as in DeepLab.

    Raises:
      UserError: a value of another type, or out of its range.
    """

    # The encoder that trains on any machine; the paper's is resnet101.
    encoder: str | object = option(
        "mobilenet_v2", "Encoder, such as mobilenet_v2_0.5 or resnet101."
    )
    # Data sets for segmentation are too small to train an encoder from scratch.
    encoder_weights: str | os.PathLike | None = option(
        "imagenet",
        'Encoder weights: "imagenet", a file, a run, or "none" for random ones.',
        name="--weights",
        training_only=True,
    )
    # As the paper; 8 costs about four times the multiply-adds per iteration.
    output_stride: int = option(
        16, "Input pixels per pixel of the deepest features: 8, 16 or 32.", choices=(8, 16, 32)
    )
    # Every encoder has its usual layer.
    encoder_layer: str | None = option(None, "Inner layer whose output is the features.")
    # ImageNet features alone segment worse; a frozen encoder is for those trained to segment.
    train_encoder: bool = option(
        True,
        "Train the encoder's weights too.",
        flag=("--train-encoder", "--freeze-encoder"),
        training_only=True,
    )
    # Batches of fewer than 16 images are too small for statistics.
    freeze_batch_norm: bool = option(
        True,
        "Keep the encoder's batch norm fixed.",
        flag=("--freeze-batch-norm", "--train-batch-norm"),
        training_only=True,
    )
    # As DeepLab with a MobileNet encoder.
    l2: float = option(
        4e-5, "L2 penalty on convolution kernels.", least=0, most=1000, training_only=True
    )

    def __post_init__(self) -> None:
        check_options(self)
        # A model, or an encoder, brings its own weights; the default is for names.
        if not isinstance(self.encoder, str) and self.encoder_weights == "imagenet":
            object.__setattr__(self, "encoder_weights", None)

    def defaults(self) -> dict[str, Any]:
        """Returns values for the options that are None because they depend on other options."""
        return {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CanvasOptions(ModelOptions):
    """The options of models whose canvas can be finer than the deepest features.

    Attributes:
      canvas_stride: input pixels per canvas pixel: 4, 8, 16 or 32, at most the output stride. None:
        `usual_canvas_stride`, but at most the output stride.
      usual_canvas_stride: the canvas stride of the model unless another is asked for.
    """

    # A canvas at stride 16 is too coarse for poles and signs.
    usual_canvas_stride: ClassVar[int] = 8

    canvas_stride: int | None = option(
        None,
        "Input pixels per canvas pixel: 4, 8, 16 or 32, at most the output stride.",
        choices=(4, 8, 16, 32),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.canvas_stride is not None and self.canvas_stride > self.output_stride:
            raise UserError(
                f"canvas_stride={self.canvas_stride}: expected at most the output stride, "
                f"{self.output_stride}"
            )

    def defaults(self) -> dict[str, Any]:
        """Returns values for the options that are None because they depend on other options."""
        stride = self.canvas_stride or min(self.usual_canvas_stride, self.output_stride)
        return dict(canvas_stride=stride)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DepthOptions(CanvasOptions):
    """The options of models that see features of several depths.

    An encoder that is a model has no usual skip layers. Without any, the canvas is at the output
    stride unless another stride is asked for.

    Attributes:
      skip_layers: inner layers of the encoder whose outputs the model sees beside the deepest
        features, from the shallowest; empty: none. None: the last layer at each stride from that of
        the canvas to 16, in the encoder before it is made atrous; or none if the encoder is a
        model, or for the recurrence if its canvas is at the output stride.
    """

    # Every encoder has its usual layers.
    skip_layers: tuple[str, ...] | None = option(
        None,
        "Inner layers whose features the model sees, too.",
        form="NAME,NAME,...",
        may_be_empty=True,
    )

    def defaults(self) -> dict[str, Any]:
        """Returns values for the options that are None because they depend on other options."""
        if self.canvas_stride is None and not isinstance(self.encoder, str):
            if not self.skip_layers:
                return dict(canvas_stride=self.output_stride)
        return CanvasOptions.defaults(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class IterationOptions(ModelOptions):
    """The options of models that run any number of iterations.

    Attributes:
      iterations: the number of iterations in training, and in use where no other number is given.
        Any other number can be run at any time. None: `usual_iterations`.
      usual_iterations: the number of iterations of the model unless another is asked for.
    """

    usual_iterations: ClassVar[int]

    # Every model has its usual number.
    iterations: int | None = option(
        None, "Number of iterations in training.", least=1, most=MOST_ITERATIONS
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.iterations is None:
            object.__setattr__(self, "iterations", self.usual_iterations)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecurrentOptions(IterationOptions, DepthOptions):
    """The options of `rnnseg.RecurrentSegmenter`.

    With `canvas_stride` at the output stride and no skip layers, canvas and gates are those of the
    paper.

    Attributes:
      early_iterations: the numbers of iterations on shallower features only, which run before the
        rest of the encoder does: with (1, 2), one iteration on the features up to the last skip
        layer but one, two on those up to the last skip layer, and all further ones on all features.
        Empty, as in the paper: all iterations see all features. None: (2,) if there are skip layers
        and more than two iterations in training; else empty.
      hidden_channels: the widths of the ConvLSTM layers before the last, which is as wide as the
        number of classes.
      kernel_size: the side of the ConvLSTM kernels. With 1, as in the paper, canvas pixels are
        independent of one another.
      dilation_rate: the spacing of the ConvLSTM kernels' taps, in canvas pixels.
      context_channels: the width of each branch of `rnnseg.models.context.Context`, which adds the
        surroundings of a pixel (near, far and the whole image) to its features; 0, as in the paper:
        no context.
      context_rates: the rates of the 3x3 convolutions among these branches, at output stride 16;
        empty: the branch of the whole image alone.
      iteration_weights: the weight of the loss at each iteration in training, one number per
        iteration. None: with skip layers, 0.15 at the end of every early stage (or, if there is
        none, after a sixth of the iterations), 0.2 after a third, 0.3 after two thirds and 0.35 at
        the last one; else only the last one counts, as in the paper.
      learned_start: True if the initial canvas and state are trained instead of zero.
      increment_scale: the first value of a trained factor of what an iteration adds to the canvas.
        Without it (0, as in the paper) an iteration moves a logit by at most one, which is slow
        where features of a deeper stage contradict the canvas. None: 3 if there are skip layers;
        else 0.
      recompute: True if training computes the iterations a second time on the way back instead of
        storing their activations (checkpointing), on some canvas pixels after the other, so that a
        step's memory hardly grows with the number of iterations (with larger kernels on some images
        of the batch after the other, if there are several). The gradient is the same.

    Raises:
      UserError: a value of another type, or out of its range; weights of another number of
        iterations.
    """

    # Further iterations than those in training would lose accuracy.
    usual_iterations: ClassVar[int] = 12

    early_iterations: tuple[int, ...] | None = option(
        None,
        "Iterations on shallower features, per stage of the encoder.",
        least=1,
        most=MOST_ITERATIONS,
        form="N,N,...",
        may_be_empty=True,
    )
    # For MobileNetV2's features on a canvas at stride 8; the paper's (512, 256) are for
    # ResNet-101's 2048 at stride 16. (128, 64) at stride 16 cost as much per iteration.
    hidden_channels: tuple[int, ...] = option(
        (64, 32),
        "Widths of the ConvLSTM layers before the last.",
        least=1,
        most=_WIDEST,
        form="N,N,...",
    )
    # As the paper, which found larger kernels worse.
    kernel_size: int = option(1, "Side of the ConvLSTM kernels.", least=1, most=127)
    # Kernels of 1 have a single tap.
    dilation_rate: int = option(1, "Spacing of the ConvLSTM kernels' taps.", least=1, most=1024)
    # As the paper: a trained encoder sees the surroundings of a pixel itself.
    context_channels: int = option(
        0, "Width of the context branches; 0: no context.", least=0, most=_WIDEST
    )
    context_rates: tuple[int, ...] = option(
        (6, 12),
        "Atrous rates of the context branches; none: that of the whole image alone.",
        least=1,
        most=1024,
        form="N,N,...",
        may_be_empty=True,
    )
    # With a loss at several iterations, answers are good before the last one.
    iteration_weights: tuple[float, ...] | None = option(
        None,
        "Loss weight of every iteration.",
        least=0,
        most=1000,
        form="W,W,...",
        training_only=True,
    )
    # As the paper, which found a learned initial state to generalise worse.
    learned_start: bool = option(
        False, "Train the initial canvas and state.", flag=("--learned-start", "--zero-start")
    )
    increment_scale: float | None = option(
        None,
        "First value of the trained factor of what an iteration adds to the canvas; 0: no factor.",
        least=0,
        most=1000,
    )
    # Storing the activations is faster wherever they fit into memory.
    recompute: bool = option(
        False,
        "Compute the iterations twice per step, in less memory.",
        flag=("--recompute", "--keep-activations"),
        training_only=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        early = self.early_iterations or ()
        if self.skip_layers is not None and len(early) > len(self.skip_layers):
            raise UserError(
                f"early_iterations={list(early)}: expected at most one number per skip layer, and "
                f"there are {len(self.skip_layers)}"
            )
        # The least that they have: features and canvas add to the first layer.
        widths, taps = self.hidden_channels, self.kernel_size**2
        pairs = zip((0, *widths), widths, strict=False)
        parameters = sum(4 * taps * width * (below + width) for below, width in pairs)
        if parameters > _MOST_PARAMETERS:
            raise UserError(
                f"hidden_channels={list(widths)} with kernel_size={self.kernel_size}: at least "
                f"{parameters / 1e6:.0f} million parameters ({4 * parameters / 1e9:.1f} GB), "
                f"expected at most {_MOST_PARAMETERS / 1e6:.0f} million: choose narrower or fewer "
                "layers"
            )
        assert self.iterations is not None  # by IterationOptions
        if sum(early) >= self.iterations:
            raise UserError(
                f"early_iterations={list(early)}: expected fewer than the {self.iterations} "
                "iterations in training, so that the last features are trained"
            )
        weights = self.iteration_weights
        if weights is not None and (len(weights) != self.iterations or not weights[-1]):
            raise UserError(
                f"iteration_weights={list(weights)}: expected {self.iterations} numbers of at "
                "least 0, one per iteration, the last one above 0"
            )

    def defaults(self) -> dict[str, Any]:
        """Returns values for the options that are None because they depend on other options."""
        depths = DepthOptions.defaults(self)
        several = bool(self.skip_layers)
        if self.skip_layers is None:
            finer = depths["canvas_stride"] < self.output_stride
            several = isinstance(self.encoder, str) and finer
        assert self.iterations is not None  # by IterationOptions
        early = self.early_iterations
        if early is None:
            early = (2,) if several and self.iterations > 2 else ()
        weights = self.iteration_weights
        if weights is None and several:
            weights = _spread_weights(self.iterations, early)
        elif weights is None:
            weights = _last_only(self.iterations)
        scale = self.increment_scale
        if scale is None:
            scale = 3.0 if several else 0.0
        return depths | dict(
            early_iterations=early,
            iteration_weights=weights,
            increment_scale=scale,
        )


def _spread_weights(iterations: int, early: tuple[int, ...]) -> tuple[float, ...]:
    """Returns weights of the loss at early, middle and last iterations."""
    weights = dict.fromkeys(range(1, iterations + 1), 0.0)
    ends = tuple(itertools.accumulate(early)) or (math.ceil(iterations / 6),)
    for number in ends:
        weights[number] += 0.15
    for thirds, weight in ((1, 0.2), (2, 0.3), (3, 0.35)):
        weights[math.ceil(thirds * iterations / 3)] += weight
    return tuple(weights.values())


def _last_only(iterations: int) -> tuple[float, ...]:
    return (0.0,) * (iterations - 1) + (1.0,)


def paper_form(output_stride: int) -> dict[str, Any]:
    """Returns the options of canvas and gates as in the paper, which models up to 0.1.0 have.

    Args:
      output_stride: the output stride of the model.
    """
    return dict(
        canvas_stride=output_stride, skip_layers=(), early_iterations=(), increment_scale=0.0
    )


def of_saved(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of a recurrent model from those in a file of any version.

    Args:
      values: options by name. Where later files hold what was chosen, earlier ones have None, or
        nothing at all, for the paper's form.

    Raises:
      UserError: the number of iterations is none.
    """
    values = dict(values)
    if "canvas_stride" not in values:
        values |= paper_form(values.get("output_stride", ModelOptions.output_stride))
    if values.get("increment_scale") is None:
        values["increment_scale"] = 0.0
    if values.get("iteration_weights") is None:
        # A damaged file may hold anything there.
        (field,) = (f for f in dataclasses.fields(RecurrentOptions) if f.name == "iterations")
        try:
            number = checked(field, values.get("iterations"))
        except UserError as error:
            raise UserError(f"iterations={error}") from None
        values["iteration_weights"] = _last_only(number or RecurrentOptions.usual_iterations)
    return values


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeedForwardOptions(ModelOptions):
    """The options of feed-forward models whose head has a width.

    Attributes:
      head_channels: the width of the head; None: `published_channels`.
      published_channels: the width with which the model was published.
    """

    published_channels: ClassVar[int]

    # As published; a narrower head costs less.
    head_channels: int | None = option(
        None, "Width of a feed-forward model's head.", least=1, most=_WIDEST
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class LowLevelOptions(FeedForwardOptions):
    """The options of feed-forward models that also see shallow features.

    Attributes:
      low_level_layer: the inner layer of the encoder whose features the head sees beside the
        deepest ones, and whose stride is that of the canvas. None: the last layer at the stride
        that was published; an encoder that is a model has no such usual layer.
    """

    # Every encoder has its usual layer.
    low_level_layer: str | None = option(
        None, "Inner layer whose features a feed-forward model's head sees, too."
    )


class DeepLabV3Options(FeedForwardOptions):
    """The options of `rnnseg.models.baselines.deeplabv3.DeepLabV3`.

    `head_channels` is the width of every branch of the head and of the layers after them.
    """

    published_channels = 256  # Chen et al., 2017


class PSPNetOptions(FeedForwardOptions):
    """The options of `rnnseg.models.baselines.pspnet.PSPNet`.

    `head_channels` is the width of the 3x3 convolution in the head.
    """

    published_channels = 512  # Zhao et al., 2017


class LRASPPOptions(LowLevelOptions):
    """The options of `rnnseg.models.baselines.lr_aspp.LRASPP`.

    `head_channels` is the width of both branches of the head.
    """

    published_channels = 128  # Howard et al., 2019


class DeepLabV3PlusOptions(LowLevelOptions):
    """The options of `rnnseg.models.baselines.deeplabv3_plus.DeepLabV3Plus`.

    `head_channels` is the width of every branch of the pyramid and of all layers after them.
    """

    published_channels = 256  # Chen et al., 2018


@dataclasses.dataclass(frozen=True, kw_only=True)
class SDNOptions(FeedForwardOptions, DepthOptions):
    """The options of `rnnseg.models.baselines.sdn.SDN`.

    `head_channels` is the width of the finest level; coarser ones are wider.

    Attributes:
      units: the number of units.
    """

    published_channels = 576  # Fu et al., 2017
    usual_canvas_stride = 4  # as published

    # As in the drawing of the published network.
    units: int = option(3, "Number of units of SDN.", least=1, most=64)


class FCNOptions(DepthOptions):
    """The options of `rnnseg.models.baselines.fcn.FCN`.

    `canvas_stride` is the stride of the finest scores: 8 for FCN-8s, 16 for FCN-16s, 32 for
    FCN-32s. `skip_layers` are the layers with scores beside those of the deepest features.
    """


@dataclasses.dataclass(frozen=True, kw_only=True)
class CRFOptions(IterationOptions, CanvasOptions):
    """The options of models with a conditional random field.

    Attributes:
      crf_window: the side of the window of canvas pixels that each of them sees in an iteration,
        odd. At a canvas stride of 4, 11 are 20 image pixels to each side.
    """

    # As published for dense inference, as far as an image of the canvas can: borders lie between
    # image pixels.
    usual_canvas_stride = 4

    # As ConvCRF (Teichmann and Cipolla, 2018), which found larger ones to bring nothing.
    crf_window: int = option(
        11, "Side of the window of a CRF, in canvas pixels; odd.", least=3, most=127
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crf_window % 2 == 0:
            raise UserError(f"crf_window={self.crf_window}: expected an odd number")


class DeepLabOptions(CRFOptions):
    """The options of `rnnseg.models.baselines.deeplab.DeepLab`."""

    usual_iterations = 11  # the scores, and ten steps as published


@dataclasses.dataclass(frozen=True, kw_only=True)
class CRFRNNOptions(CRFOptions, FCNOptions):
    """The options of `rnnseg.models.baselines.crf_rnn.CRFRNN`."""

    usual_iterations = 6  # the scores, and five steps as published


# The models that can be named, as in `rnnseg.models.registry`.
MODEL_OPTIONS: Mapping[str, type[ModelOptions]] = {
    "recurrent": RecurrentOptions,
    "fcn": FCNOptions,
    "crf_rnn": CRFRNNOptions,
    "deeplab": DeepLabOptions,
    "deeplabv3": DeepLabV3Options,
    "deeplabv3_plus": DeepLabV3PlusOptions,
    "lr_aspp": LRASPPOptions,
    "pspnet": PSPNetOptions,
    "sdn": SDNOptions,
}
