"""What every segmenter shares, recurrent or feed-forward: encoder, stages, reading, saving."""

import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rnnseg.budgets.budget import Budget
from rnnseg.checks import check_positive
from rnnseg.errors import UserError
from rnnseg.inference.predictor import Predictor
from rnnseg.models import encoders, geometry


class Segmenter(keras.Model):
    """An encoder, and something that makes a canvas of class logits from its features.

    All segmenters go through the same stages: `encode` an image, `prepare` what is done once,
    `refine` the canvas by iterations, `read` the class map. A feed-forward one is done after its
    first iteration.

    Args:
      num_classes: number of classes, which is the width of the canvas.
      encoder: a name from `rnnseg.models.encoders.names()`, such as "resnet101" or
        "mobilenet_v2_0.5", or a `keras.Model` that gives features of RGB 0-255 images.
      encoder_weights: "imagenet", a weights file, or None for random ones.
      output_stride: pixels of the image a pixel of features and canvas: 8, 16 or 32.
      encoder_layer: the inner layer whose output are the features; None for the usual one.
      train_encoder: whether training changes the encoder.
      freeze_batch_norm: whether the encoder's batch norm keeps its statistics, scale and offset in
        training, as it should with fewer than 16 images a batch.
      l2: weight decay of convolution kernels by a penalty in the loss: l2 / 2 times the sum of
        squares, whose gradient is l2 times the kernel, as in DeepLab.
      class_names: one name a class; the model carries them for the commands' sake.
      class_colors: one (red, green, blue) of 0-255 a class, likewise.
      name: of the model.
      dtype: Keras dtype policy; the canvas is float32 under every one.

    Attributes:
      recurrent: whether more than one iteration can be asked for.
      iterations: how many iterations there are where nothing else is said.
      loaded_from: the `.keras` file or run's folder that `load_model` took it from; None otherwise.

    Raises:
      UserError: an argument out of its range, an unknown encoder, weights that do not fit.
    """

    recurrent = False
    iterations = 1
    loaded_from: str | None = None

    def __init__(
        self,
        num_classes: int,
        encoder: str | keras.Model = "resnet101",
        encoder_weights: str | os.PathLike | None = "imagenet",
        output_stride: int = 16,
        encoder_layer: str | None = None,
        train_encoder: bool = True,
        freeze_batch_norm: bool = False,
        l2: float = 0.0,
        class_names: Sequence[str] | None = None,
        class_colors: Sequence[Sequence[int]] | None = None,
        name: str = "segmenter",
        dtype=None,
    ):
        # autocast would take the precision of RGB 0-255 and of a given canvas.
        super().__init__(name=name, dtype=dtype, autocast=False)
        check_positive("num_classes", num_classes)
        for option, values in (("class_names", class_names), ("class_colors", class_colors)):
            if values is not None and len(values) != num_classes:
                raise UserError(f"{option}: {len(values)} given for {num_classes} classes")
        self.num_classes = num_classes
        self.output_stride = output_stride
        self.class_names = None if class_names is None else tuple(class_names)
        self.class_colors = class_colors and tuple(tuple(map(int, each)) for each in class_colors)
        self._shared_options = dict(
            encoder=encoder,
            encoder_layer=encoder_layer,
            train_encoder=train_encoder,
            freeze_batch_norm=freeze_batch_norm,
            l2=l2,
        )
        self._kernel_regularizer = keras.regularizers.L2(l2 / 2) if l2 else None
        self.encoder = encoders.build_encoder(
            encoder,
            encoder_weights,
            output_stride,
            encoder_layer,
            self._kernel_regularizer,
            self.dtype_policy,
        )
        self.encoder.trainable = train_encoder
        if freeze_batch_norm:
            for layer in self.encoder.network._flatten_layers():
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.trainable = False

    # --- the stages that all share ---

    def encode(self, images, training: bool = False) -> tf.Tensor:
        """The encoder's features.

        Args:
          images: RGB 0-255, uint8 or float, `(batch, H, W, 3)`, at least one output stride a side.
          training: whether batch norm and dropout are in training mode.

        Returns:
          `(batch, h, w, channels)` with `h = ceil((H - 1) / output_stride) + 1`, `w` likewise.
        """
        images = tf.convert_to_tensor(images)
        if images.shape.rank != 4 or images.shape[3] not in (3, None):
            raise UserError(f"images of shape {images.shape}: expected (batch, height, width, 3)")
        self.check_image(*images.shape[1:3])
        # A frozen encoder's dropout would only add noise to features that cannot adapt to it.
        return self.encoder(images, training=training and self.encoder.trainable)

    def check_image(self, height: int | None, width: int | None) -> None:
        """Raises a UserError for an image of less than one output stride a side."""
        for side in (height, width):
            if side is not None and side < self.output_stride:
                raise UserError(
                    f"an image of {height}x{width} pixels is smaller than one output stride "
                    f"({self.output_stride}): expected at least that on each side"
                )

    def logits(self, canvas, size) -> tf.Tensor:
        """The canvas at the image's size.

        Args:
          canvas: `(batch, h, w, classes)`.
          size: the image's `(height, width)`.

        Returns:
          Logits, float32, `(batch, height, width, classes)`.
        """
        if not tf.is_tensor(size):
            self._check_size(size, canvas)
        return geometry.upsample(canvas, size, self.output_stride)

    def read(self, canvas, size) -> tf.Tensor:
        """The prediction of the moment.

        Args:
          canvas: `(batch, h, w, classes)`.
          size: the image's `(height, width)`.

        Returns:
          Class map, int32, `(batch, height, width)`.
        """
        return tf.argmax(self.logits(canvas, size), axis=-1, output_type=tf.int32)

    def sized_logits(self, canvas, images) -> tf.Tensor:
        """The canvas at the size of its images, whose shape stays known as far as it is.

        Args:
          canvas: `(batch, h, w, classes)`.
          images: `(batch, H, W, 3)`.

        Returns:
          Logits, float32, `(batch, H, W, classes)`.
        """
        logits = self.logits(canvas, tf.shape(images)[1:3])
        return tf.ensure_shape(logits, (*images.shape[:3], self.num_classes))

    def _check_size(self, size, canvas):
        for side, cells in zip(size, canvas.shape[1:3], strict=True):
            if cells and not tf.is_tensor(side) and side > self.output_stride * (cells - 1) + 1:
                raise UserError(
                    f"size {tuple(size)}: a canvas of {canvas.shape[1]}x{canvas.shape[2]} reaches "
                    f"{self.output_stride * (cells - 1) + 1} pixels at most"
                )

    # --- for use ---

    def predict_classes(
        self, images, budget: Budget | None = None, canvas=None, stop_when_settled: bool = False
    ) -> np.ndarray:
        """Segments images of one size within a budget.

        Args:
          images: RGB 0-255, uint8 or float, `(batch, H, W, 3)`, or one image, `(H, W, 3)`.
          budget: what each image may cost; as many iterations as it pays for are run. None: as
            many as in training.
          canvas: logits to start from, `(batch, h, w, classes)`, or `(h, w, classes)` for one
            image; None: the start of training.
          stop_when_settled: whether to spare iterations where they would change next to nothing
            (`rnnseg.models.adaptive`); the budget is then for an image that needs them all.

        Returns:
          Class maps, int32, `(batch, H, W)` or `(H, W)`.

        Raises:
          UserError: the budget is too small for one iteration; it is in milliseconds and there is
            no profile of this model and machine (`rnnseg benchmark --save`); or wrong shapes.
        """
        return self.predictor(images, budget, canvas, stop_when_settled)

    @functools.cached_property
    def predictor(self) -> Predictor:
        """What `predict_classes` goes through; it keeps traces and costs from call to call."""
        return Predictor(self)

    # --- saving ---

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs; a saved file holds the weights beside it."""
        config = dict(
            self._shared_options,
            num_classes=self.num_classes,
            output_stride=self.output_stride,
            class_names=self.class_names,
            class_colors=self.class_colors,
            name=self.name,
            dtype=keras.saving.serialize_keras_object(self.dtype_policy),
        )
        if isinstance(config["encoder"], keras.Model):
            config["encoder"] = keras.saving.serialize_keras_object(config["encoder"])
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Segmenter":
        """Makes an untrained model of the same structure; loading fills in the weights."""
        config = dict(config, encoder_weights=None)
        for key in ("encoder", "dtype"):
            if isinstance(config[key], Mapping):
                config[key] = keras.saving.deserialize_keras_object(config[key])
        return cls(**config)

    def at_output_stride(self, output_stride: int) -> "Segmenter":
        """The same weights at another output stride, as DeepLab trains at 16 and evaluates at 8.

        Kernels are spread so that they reach as many pixels of the image as before.

        Args:
          output_stride: 8, 16 or 32.

        Raises:
          UserError: an encoder given as a model, whose stride is its own; or kernels that cannot
            be drawn together so far.
        """
        config = self.get_config()
        if isinstance(config["encoder"], Mapping):
            raise UserError(
                f"output stride {output_stride}: the encoder is a model of its own, with output "
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
