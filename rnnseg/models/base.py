"""The base class of all models, recurrent or feed-forward: encoder, reading, saving."""

import abc
import dataclasses
import functools
import importlib
import inspect
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import keras
import numpy as np
import tensorflow as tf

from rnnseg import grid
from rnnseg.checks import check_positive
from rnnseg.errors import UserError
from rnnseg.models import encoders, geometry
from rnnseg.models.encoder import Encoder, Features
from rnnseg.models.fitting import FittedModel
from rnnseg.models.inspection import InspectedModel
from rnnseg.models.options import ModelOptions
from rnnseg.models.preset_files import PresetModel
from rnnseg.models.stages import CompiledStages
from rnnseg.models.transfer import Transfer, transfer_weights
from rnnseg.palette import default_colors
from rnnseg.stages import Stages

_Model = TypeVar("_Model", bound="SegmentationModel")


class SegmentationModel(FittedModel, InspectedModel, PresetModel, Stages[tf.Tensor]):
    """An encoder, and layers that make a canvas of class logits from its features.

    All models go through the same stages: `encode`, `prepare`, `refine`, `read` (`rnnseg.stages`).

    Args:
      num_classes: the number of classes, which is the width of the canvas.
      class_names: one name per class, which the model carries for the commands.
      class_colors: one (red, green, blue) of 0-255 per class, likewise.
      name: the name of the model.
      dtype: the Keras dtype policy; the canvas is float32 under every policy.
      **options: fields of `options_type`.

    Attributes:
      options: the options of the model, an instance of `options_type`.
      stack: the ConvLSTM layers of a `rnnseg.RecurrentSegmenter`; None for other models.
      loaded_from: the `.keras` file or the folder of the run that `load_model` read the model from;
        None if the model was built.
      transfer: what the model took from another one; None if it was not made by `from_model`.

    Raises:
      UserError: an argument out of its range, an unknown encoder, weights that do not fit.
    """

    recurrent = False
    iterations = 1
    # Any: what they have depends on the kind of model.
    options: Any
    stack: Any = None
    loaded_from: str | None = None
    transfer: Transfer | None = None
    options_type: type[ModelOptions] = ModelOptions

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Shows the options in the signature of the constructor."""
        super().__init_subclass__(**kwargs)
        fields = inspect.signature(cls.options_type).parameters.values()
        own = inspect.signature(cls.__init__).parameters.values()
        named = [each for each in own if each.kind is not each.VAR_KEYWORD]
        if len(named) < len(own):
            cls.__signature__ = inspect.Signature([*named[1:], *fields])

    def __init__(
        self,
        num_classes: int,
        *,
        class_names: Sequence[str] | None = None,
        class_colors: Sequence[Sequence[int]] | None = None,
        name: str = "segmentation_model",
        dtype: str | keras.DTypePolicy | None = None,
        **options: Any,
    ) -> None:
        # autocast would take the precision of RGB 0-255 and of a given canvas.
        super().__init__(name=name, dtype=dtype, autocast=False)
        check_positive("num_classes", num_classes)
        for option, values in (("class_names", class_names), ("class_colors", class_colors)):
            if values is not None and len(values) != num_classes:
                raise UserError(f"{option}: {len(values)} given for {num_classes} classes")
        self.options, source = _resolved(self.options_type(**options))
        self.options = dataclasses.replace(self.options, **self.options.defaults())
        self.num_classes = num_classes
        self.output_stride = self.options.output_stride
        self.canvas_stride, skips = self._depths()
        self.class_names = None if class_names is None else tuple(class_names)
        self.class_colors = class_colors and tuple(tuple(map(int, each)) for each in class_colors)
        l2 = self.options.l2
        self._kernel_regularizer = keras.regularizers.L2(l2 / 2) if l2 else None
        self.encoder = encoders.build_encoder(
            self.options.encoder,
            None if source is not None else self.options.encoder_weights,
            self.output_stride,
            self.options.encoder_layer,
            self._kernel_regularizer,
            self.dtype_policy,
            **skips,
        )
        if source is not None:
            self._take_encoder(source)
        self.encoder.trainable = self.options.train_encoder
        if self.options.freeze_batch_norm:
            for layer in self.encoder.network._flatten_layers():
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.trainable = False

    def _take_encoder(self, source: Encoder) -> None:
        """Copies the weights of another encoder."""
        try:
            self.encoder.network.set_weights(source.network.get_weights())
        except ValueError as error:
            raise UserError(
                f"encoder {self.options.encoder}: the weights of another encoder "
                f"({source.made_from and source.made_from[0]} with {source.channels} channels) do "
                "not fit; choose the same encoder and the same output stride"
            ) from error

    def _depths(self) -> tuple[int, dict[str, Any]]:
        """Returns the canvas stride, and arguments of `build_encoder` that choose the features."""
        return self.output_stride, {}

    # --- stages ---

    def encode(self, images: np.ndarray | tf.Tensor, training: bool = False) -> Features:
        """Computes the features of images.

        Args:
          images: RGB 0-255, uint8 or float, `(batch, H, W, 3)`, with at least one output stride per
            side.
          training: True if batch norm and dropout are in training mode.

        Returns:
          The features of all depths by name, `(batch, h, w, channels)` each, as from
          `rnnseg.models.encoder.Encoder`; those of the last layer are called "deepest".
        """
        images = self._checked_images(images)
        # A frozen encoder's dropout would only add noise to features that cannot adapt to it.
        return self.encoder(images, training=training and self.encoder.trainable)

    def encode_stage(self, number: int, inputs: Any) -> Features:
        """Runs one stage of the encoder; see `rnnseg.stages.Stages.encode_stage`."""
        inputs = inputs if number else self._checked_images(inputs)
        return self.encoder.run_stage(number, inputs)

    def _checked_images(self, images) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        if images.shape.rank != 4 or images.shape[3] not in (3, None):
            raise UserError(f"images of shape {images.shape}: expected (batch, height, width, 3)")
        self.check_image(*images.shape[1:3])
        return images

    @property
    def prepared_channels(self) -> int:
        """The number of channels of what `prepare` returns."""
        return self.num_classes

    @property
    def state_channels(self) -> dict[str, int]:
        """The number of channels of every tensor of the state, by name; none without a state."""
        return {}

    @property
    def initial_values(self) -> dict[str, tf.Tensor]:
        """The trained values that canvas and state start from, one per channel, by name."""
        return {}

    @abc.abstractmethod
    def iterate(
        self, prepared: tf.Tensor, canvas: tf.Tensor | None = None, state: Any = None
    ) -> tuple[tf.Tensor, Any]:
        """Runs one iteration, outside of any loop.

        Args:
          prepared: from `prepare`.
          canvas: logits to start from, `(batch, h, w, classes)`; None for the initial canvas.
          state: the state of the iteration before; None for the initial state.

        Returns:
          The canvas and the state, as from `refine`.
        """

    @abc.abstractmethod
    def canvas_of(
        self,
        images: np.ndarray | tf.Tensor,
        iterations: int | tf.Tensor,
        canvas: np.ndarray | tf.Tensor | None = None,
        stop_when_settled: bool = False,
        stages: int | None = None,
    ) -> tf.Tensor:
        """Encodes, prepares and refines.

        Args:
          images: RGB 0-255, uint8 or float, `(batch, H, W, 3)`.
          iterations: the number of iterations, or the largest number; or a scalar integer tensor.
          canvas: logits to start from, `(batch, h, w, classes)`; None for the initial canvas.
          stop_when_settled: True to stop where the prediction would hardly change any more.
          stages: the number of the encoder's stages to run; None for those that the iterations
            need, which is all of them if `iterations` is a tensor.

        Returns:
          The canvas, float32 `(batch, h, w, classes)`.
        """

    def check_image(self, height: int | None, width: int | None) -> None:
        """Raises a UserError for an image with a side below one output stride."""
        for side in (height, width):
            if side is not None and side < self.output_stride:
                raise UserError(
                    f"an image of {height}x{width} pixels is smaller than one output stride "
                    f"({self.output_stride}): expected at least that on each side"
                )

    def logits(self, canvas: tf.Tensor, size: Sequence[int] | tf.Tensor) -> tf.Tensor:
        """Upsamples the canvas to the size of the images.

        Args:
          canvas: `(batch, h, w, classes)`.
          size: the `(height, width)` of the images, in pixels.

        Returns:
          Logits, float32, `(batch, height, width, classes)`.
        """
        sides = tuple(canvas.shape[1:3])
        if None not in sides and not tf.is_tensor(size) and not any(map(tf.is_tensor, size)):
            grid.check_covered(size, sides, self.canvas_stride)
        return geometry.upsample(canvas, size, self.canvas_stride)

    def read(self, canvas: tf.Tensor, size: Sequence[int] | tf.Tensor) -> tf.Tensor:
        """Returns the prediction: the argmax of the upsampled canvas.

        Args:
          canvas: `(batch, h, w, classes)`.
          size: the `(height, width)` of the images, in pixels.

        Returns:
          Class maps, int32, `(batch, height, width)`.
        """
        return tf.argmax(self.logits(canvas, size), axis=-1, output_type=tf.int32)

    def sized_logits(self, canvas: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
        """Upsamples the canvas to the size of its images; statically known sizes stay known.

        Args:
          canvas: `(batch, h, w, classes)`.
          images: `(batch, H, W, 3)`.

        Returns:
          Logits, float32, `(batch, H, W, classes)`.
        """
        logits = self.logits(canvas, tf.shape(images)[1:3])
        return tf.ensure_shape(logits, (*images.shape[:3], self.num_classes))

    # --- inference ---

    @functools.cached_property
    def compiled_stages(self) -> CompiledStages:
        """The stages, compiled for inference; traces are kept from call to call."""
        return CompiledStages(self)

    @property
    def names(self) -> tuple[str, ...]:
        """One name per class: `class_names`, or "class 0", "class 1" and so on."""
        return tuple(self.class_names or ()) or tuple(
            f"class {index}" for index in range(self.num_classes)
        )

    @property
    def colors(self) -> tuple[tuple[int, int, int], ...]:
        """One (red, green, blue) of 0-255 per class: `class_colors`, or default ones."""
        given = self.class_colors or default_colors(self.num_classes)
        return tuple((red, green, blue) for red, green, blue in given)

    def predict_classes(
        self,
        images: np.ndarray | tf.Tensor,
        budget: Any = None,
        canvas: np.ndarray | tf.Tensor | None = None,
        stop_when_settled: bool = False,
    ) -> np.ndarray:
        """Segments images of one size within a budget.

        `rnnseg.Predictor` does the same with the scores and the times that were measured on the
        model: it knows which number of iterations scored best, and what a millisecond buys.

        Args:
          images: RGB 0-255, uint8 or float, `(batch, H, W, 3)`, or one image, `(H, W, 3)`.
          budget: a `rnnseg.Budget` for one image; multiply-adds buy at most the number of
            iterations in training. None: as many iterations as in training.
          canvas: logits to start from, `(batch, h, w, classes)`, or `(h, w, classes)` for one
            image; None for the initial canvas.
          stop_when_settled: True to stop where further iterations would hardly change the
            prediction (`rnnseg.models.adaptive`); the budget is then the most that is spent.

        Returns:
          Class maps, int32, `(batch, H, W)` or `(H, W)`.

        Raises:
          UserError: the budget is too small for one iteration, or of milliseconds; or wrong shapes.
        """
        if budget is not None and not hasattr(budget, "iterations_for"):
            raise UserError(
                f"budget={budget!r}: expected rnnseg.Budget(gmacs=…) or Budget(iterations=…)"
            )
        images = tf.convert_to_tensor(images)
        single = images.shape.rank == 3
        images = images[tf.newaxis] if single else images
        if images.shape.rank != 4 or images.shape[-1] != 3 or not images.shape[0]:
            raise UserError(
                f"images of shape {images.shape}: expected (height, width, 3) or (batch, height, "
                "width, 3)"
            )
        size = images.shape[1:3]
        self.check_image(*size)
        iterations = self.iterations
        if budget is not None:
            iterations = budget.iterations_for(self, *size)
        if stop_when_settled:
            self.check_can_stop()
        if canvas is not None:
            canvas = self._canvas_batch(canvas, images, single)
        maps = self.compiled_stages.class_maps(images, iterations, canvas, stop_when_settled)
        return maps.numpy()[0] if single else maps.numpy()

    def check_can_stop(self) -> None:
        """Raises a UserError for a model whose single iteration leaves nothing to stop."""
        if not self.recurrent:
            raise UserError(
                f"stop_when_settled: {self.name} is feed-forward and has a single iteration; leave "
                "it out"
            )

    def _canvas_batch(self, canvas, images, single: bool) -> tf.Tensor:
        """Returns a given canvas as a batch, after a check of its shape against the images."""
        canvas = tf.cast(canvas, tf.float32)
        sides = self.canvas_size(*images.shape[1:3])
        expected = (len(images), *sides, self.num_classes)[single:]
        if tuple(canvas.shape) != expected:
            raise UserError(
                f"canvas of shape {canvas.shape}: expected {expected}, the logits of "
                f"{expected[-1]} classes at a stride of {self.canvas_stride}"
            )
        return canvas[tf.newaxis] if single else canvas

    def trace(
        self,
        images: np.ndarray | tf.Tensor,
        iterations: int,
        canvas: np.ndarray | tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Deprecated: the earlier name of `unroll`."""
        warnings.warn("trace is now called unroll", DeprecationWarning, stacklevel=2)
        return self.unroll(images, iterations, canvas)

    # --- saving ---

    def export(
        self,
        filepath: str | os.PathLike,
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        input_signature: Sequence | None = None,
        **more: Any,
    ) -> None:
        """Writes the model for inference, as in Keras: images to logits, for images of any size.

        A SavedModel runs as many iterations as in training. An ONNX file takes their number as an
        input `iterations` (`rnnseg.exporting.onnx.export`). `rnnseg export` writes more: SavedModel
        and LiteRT files for every number of iterations, quantized ones, and a report.

        Args:
          filepath: where to write.
          format: a format of Keras, such as "tf_saved_model", or "onnx".
          verbose: as in Keras.
          input_signature: as in Keras; None: float32 images, `(batch, H, W, 3)`, of any number and
            size.
          **more: as in Keras: `opset_version` for ONNX.
        """
        if format == "onnx":
            # By name: models import nothing that exports them.
            onnx = importlib.import_module("rnnseg.exporting.onnx")
            onnx.export(self, filepath, verbose, input_signature, **more)
            return
        if input_signature is None:
            input_signature = [keras.InputSpec(shape=(None, None, None, 3), dtype="float32")]
        super().export(filepath, format, verbose, input_signature, **more)

    def quantize(self, mode: str | None = None, **options: Any) -> None:
        """Not available: Keras quantizes no convolutions.

        Raises:
          UserError: always, with the command that quantizes.
        """
        raise UserError(
            f"quantize({mode!r}): Keras quantizes no convolutions; save the model and run `rnnseg "
            "export FILE.keras --quantize int8 --images FOLDER --out FOLDER`, which writes int8 "
            "files for LiteRT"
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments for `from_config`; a saved file holds the weights beside them."""
        names = (field.name for field in dataclasses.fields(self.options))
        config = {name: getattr(self.options, name) for name in names}
        del config["encoder_weights"]
        config |= dict(
            num_classes=self.num_classes,
            class_names=self.class_names,
            class_colors=self.class_colors,
            name=self.name,
            dtype=keras.saving.serialize_keras_object(self.dtype_policy),
        )
        if isinstance(config["encoder"], keras.Model):
            config["encoder"] = keras.saving.serialize_keras_object(config["encoder"])
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "SegmentationModel":
        """Builds an untrained model of the same structure; loading fills in the weights."""
        config = dict(config, encoder_weights=None)
        for key in ("encoder", "dtype"):
            if isinstance(config[key], Mapping):
                config[key] = keras.saving.deserialize_keras_object(config[key])
        return cls(**config)

    @classmethod
    def from_model(
        cls: type[_Model],
        old: "SegmentationModel",
        num_classes: int | None = None,
        class_names: Sequence[str] | None = None,
        class_colors: Sequence[Sequence[int]] | None = None,
        **options: Any,
    ) -> _Model:
        """Builds a model that starts from the weights of another one, for further training.

        It has the options of the old model, as far as `options` give no others. Weights are taken
        where they fit (`rnnseg.models.transfer`): those of a class for the class of the same name,
        and those of a stack if most classes are the same.

        Args:
          old: the model to start from, of this kind or of another.
          num_classes: the number of classes; None: that of `class_names`, or of the old model.
          class_names: one name per class; None: those of the old model, if the number is the same.
          class_colors: likewise.
          **options: further arguments of the constructor.

        Returns:
          The model; its `transfer` tells what was taken and what was not.
        """
        names = [field.name for field in dataclasses.fields(cls.options_type)]
        config = old.get_config()
        if isinstance(config["encoder"], Mapping):
            config["encoder"] = keras.saving.deserialize_keras_object(config["encoder"])
        if num_classes is None:
            num_classes = old.num_classes if class_names is None else len(class_names)
        if class_names is None and num_classes == old.num_classes:
            class_names, class_colors = old.class_names, class_colors or old.class_colors
        kept = {name: config[name] for name in names if name in config}
        if "iterations" in options:
            kept.pop("iteration_weights", None)  # they are for another number
        kept |= {"dtype": old.dtype_policy, "encoder_weights": None}
        model = cls(
            num_classes,
            class_names=class_names,
            class_colors=class_colors,
            **kept | options,
        )
        model.transfer = transfer_weights(old, model)
        return model

    def at_output_stride(self, output_stride: int) -> "SegmentationModel":
        """Returns a copy with the same weights at another output stride.

        DeepLab, for example, is trained at 16 and evaluated at 8. Kernels are dilated so that they
        cover the same image pixels as before.

        Args:
          output_stride: 8, 16 or 32.

        Raises:
          UserError: the encoder is a custom model, whose stride is fixed; or the kernel taps cannot
            be moved close enough together.
        """
        config = self.get_config()
        if isinstance(config["encoder"], Mapping):
            raise UserError(
                f"output stride {output_stride}: the encoder is a custom model, with output "
                f"stride {self.output_stride}"
            )
        copy = type(self).from_config(self._config_at(config, output_stride))
        try:
            copy.set_weights(self.get_weights())
        except ValueError as error:
            raise UserError(
                f"output stride {output_stride}: encoder {config['encoder']} is another network "
                f"there, and this one was trained at {self.output_stride}"
            ) from error
        return copy

    def _config_at(self, config: dict[str, Any], output_stride: int) -> dict[str, Any]:
        return config | {"output_stride": output_stride}


def _resolved(options: ModelOptions) -> tuple[ModelOptions, Encoder | None]:
    """Returns options whose encoder has a name or is a model, and the encoder to take weights from.

    That is one given in place of a name, or that of the model which the weights are a file of.
    """
    given, weights = options.encoder, options.encoder_weights
    if isinstance(given, Encoder):
        if weights is not None:
            raise UserError("encoder_weights: an encoder brings its own weights")
        if options.encoder_layer is not None:
            raise UserError(
                f"encoder_layer={options.encoder_layer!r}: an encoder has its layer; give its name "
                "and its weights to cut it elsewhere"
            )
        if given.made_from is None:
            return dataclasses.replace(options, encoder=given.network), None
        name, layer = given.made_from
        return dataclasses.replace(options, encoder=name, encoder_layer=layer), given
    if weights is not None and (os.path.isdir(weights) or str(weights).endswith(".keras")):
        # By name: it imports this module.
        loading = importlib.import_module("rnnseg.models.loading")
        return options, loading.load_model(weights).encoder
    return options, None
