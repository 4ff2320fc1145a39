"""The recurrent segmenter: encode, prepare, refine, read."""

import os
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from rnnseg.checks import check_positive
from rnnseg.errors import UserError
from rnnseg.models import adaptive, base, conv_lstm, recomputation
from rnnseg.models.context import Context
from rnnseg.training.sampling import SampledImages


@keras.saving.register_keras_serializable("rnnseg")
class RecurrentSegmenter(base.Segmenter):
    """Semantic segmentation that gets better with every iteration and may stop after any.

    An encoder gives features; a stack of ConvLSTM layers sees features and canvas and adds its
    output to the canvas, the logits of all classes at the features' size; the prediction of any
    moment is the argmax of the upsampled canvas (McIntosh et al., 2017, "Recurrent Segmentation for
    Variable Computational Budgets").

    Args:
      num_classes: number of classes, which is the width of the canvas.
      encoder: a name from `rnnseg.models.encoders.names()`, such as "resnet101" or
        "mobilenet_v2_0.5", or a `keras.Model` that gives features of RGB 0-255 images.
      encoder_weights: "imagenet", a weights file, or None for random ones.
      output_stride: pixels of the image a pixel of features and canvas: 8, 16 or 32.
      encoder_layer: the inner layer whose output are the features; None for the usual one.
      hidden_channels: widths of the ConvLSTM layers before the last, which is as wide as the
        classes.
      kernel_size: side of the stack's kernels. With 1, as in the paper, pixels are independent.
      dilation_rate: spacing of the stack's kernel taps.
      context_channels: width of each branch of `rnnseg.models.context.Context`, which puts what
        lies around a pixel, near, far and the whole image, beside its features; 0, as in the paper:
        nothing does.
      iterations: how many iterations training runs, and use where nothing else is said. Any other
        number can be asked for at any time.
      iteration_weights: how much the loss at each iteration counts, one number an iteration, in
        training. None: only the last counts, as in the paper.
      learned_start: whether canvas and state start from trained values instead of zero.
      recompute: whether training runs the iterations a second time on the way back, instead of
        keeping what every one of them leaves behind: on some canvas pixels after the other, so that
        a step's memory hardly grows with their number (with larger kernels on some images of the
        batch after the other, as far as there are several). The gradient is the same.
      train_encoder: whether training changes the encoder.
      freeze_batch_norm: whether the encoder's batch norm keeps its statistics, scale and offset in
        training, as it should with fewer than 16 images a batch.
      l2: weight decay of convolution kernels by a penalty in the loss: l2 / 2 times the sum of
        squares, whose gradient is l2 times the kernel, as in DeepLab.
      class_names: one name a class; the model carries them for the commands' sake.
      class_colors: one (red, green, blue) of 0-255 a class, likewise.
      name: of the model.
      dtype: Keras dtype policy; canvas and cell state are float32 under every one.

    Raises:
      UserError: an argument out of its range, an unknown encoder, weights that do not fit.
    """

    recurrent = True

    def __init__(
        self,
        num_classes: int,
        encoder: str | keras.Model = "resnet101",
        encoder_weights: str | os.PathLike | None = "imagenet",
        output_stride: int = 16,
        encoder_layer: str | None = None,
        hidden_channels: Sequence[int] = (512, 256),
        kernel_size: int = 1,
        dilation_rate: int = 1,
        context_channels: int = 0,
        iterations: int = 6,
        iteration_weights: Sequence[float] | None = None,
        learned_start: bool = False,
        recompute: bool = False,
        train_encoder: bool = True,
        freeze_batch_norm: bool = False,
        l2: float = 0.0,
        class_names: Sequence[str] | None = None,
        class_colors: Sequence[Sequence[int]] | None = None,
        name: str = "recurrent_segmenter",
        dtype=None,
    ):
        super().__init__(
            num_classes,
            encoder,
            encoder_weights,
            output_stride,
            encoder_layer,
            train_encoder,
            freeze_batch_norm,
            l2,
            class_names,
            class_colors,
            name,
            dtype,
        )
        check_positive("iterations", iterations)
        check_positive("kernel_size", kernel_size)
        check_positive("dilation_rate", dilation_rate)
        if context_channels != 0:
            check_positive("context_channels", context_channels)
        for width in hidden_channels:
            check_positive("hidden_channels", width)
        if iteration_weights is not None:
            _check_iteration_weights(iteration_weights, iterations)
        self.iterations = iterations
        self.iteration_weights = None if iteration_weights is None else tuple(iteration_weights)
        self._options = dict(
            hidden_channels=tuple(hidden_channels),
            kernel_size=kernel_size,
            dilation_rate=dilation_rate,
            context_channels=context_channels,
            learned_start=learned_start,
            recompute=recompute,
        )
        self.context = None
        features_shape = (None, None, None, self.encoder.channels)
        if context_channels:
            self.context = Context(
                context_channels,
                output_stride,
                self._kernel_regularizer,
                dtype=self.dtype_policy,
                name="context",
            )
            self.context.build(features_shape)
            features_shape = self.context.compute_output_shape(features_shape)
        self.stack = conv_lstm.ConvLSTMStack(
            num_classes,
            hidden_channels,
            kernel_size,
            dilation_rate,
            learned_start,
            self._kernel_regularizer,
            dtype=self.dtype_policy,
            name="stack",
        )
        self.stack.build(features_shape)
        # XLA has no gradient of a loop whose number of iterations is a tensor.
        self.supports_jit = False
        self.built = True

    # --- the stages ---

    def prepare(self, features) -> tf.Tensor:
        """The features' share, and their context's, of the first layer's gates, once per image.

        Args:
          features: from `encode`.

        Returns:
          `(batch, h, w, 4 * hidden_channels[0])`.
        """
        return self.stack.prepare(self._in_context(features))

    def _in_context(self, features):
        return features if self.context is None else self.context(features)

    def refine(self, prepared, iterations, canvas=None, state=None):
        """Runs iterations on a canvas.

        Args:
          prepared: from `prepare`.
          iterations: how many; a positive number, or a scalar integer tensor, so that one trace
            serves every number.
          canvas: logits to start from, `(batch, h, w, classes)`: an earlier call's, the last video
            frame's, any segmentation; None for the start of training.
          state: the state that an earlier call gave; None for the start of training.

        Returns:
          The canvas, float32, and the state, one `LSTMState` a layer.
        """
        canvas, state, _ = self._iterate(prepared, iterations, canvas, state, keep=False)
        return canvas, state

    def refine_until_settled(self, prepared, iterations, canvas=None):
        """Runs iterations on a canvas, but only where they would still change what is read.

        With kernels of 1 canvas pixels stop alone, with larger ones whole images do; thresholds
        can be given to `rnnseg.models.adaptive.refine_pixels` and `refine_images`.

        Args:
          prepared: from `prepare`.
          iterations: how many at most; a positive number, or a scalar integer tensor.
          canvas: logits to start from, `(batch, h, w, classes)`; None for the start of training.

        Returns:
          The canvas, float32, and how many iterations were spent, int32: on each of its pixels,
          `(batch, h, w)`, or on each image, `(batch,)`.
        """
        alone = self.stack.kernel_size == 1
        refine = adaptive.refine_pixels if alone else adaptive.refine_images
        return refine(self, prepared, iterations, canvas=canvas)

    # --- all together ---

    def call(self, images, iterations=None, canvas=None, training=False):
        """Segments images of one size.

        Args:
          images: RGB 0-255, uint8 or float, `(batch, H, W, 3)`; or `SampledImages`.
          iterations: how many; None for the number of training.
          canvas: logits to start from, `(batch, h, w, classes)`, or None.
          training: as in Keras.

        Returns:
          Logits at the images' size, `(batch, H, W, classes)`. In training with
          `iteration_weights`: a tuple of them, one for every iteration whose weight is not zero.
          Of `SampledImages` those of the cells, one below the other, `(batch, cells *
          output_stride, output_stride, classes)`.
        """
        cells = None
        if isinstance(images, SampledImages):
            # Of several replicas' first batches Keras takes the mean, to build the model with it.
            images, cells = images.images, tf.cast(images.cells, tf.int32)
        features = self.encode(images, training=training)
        if cells is None:
            prepared = self.prepare(features)
        else:
            prepared = self.stack.prepare(self._at_corners(self._in_context(features), cells))
        iterations = self.iterations if iterations is None else iterations
        weighted = self._weighted_iterations() if training else []
        if weighted and not tf.is_tensor(iterations) and iterations != self.iterations:
            raise UserError(
                f"iterations={iterations}: iteration_weights are for {self.iterations} in training"
            )
        recompute = training and self._options["recompute"]
        run = self._recomputed_canvases if recompute else self._canvases
        canvases = tf.unstack(run(prepared, iterations, canvas, weighted), len(weighted) or 1)
        if cells is None:
            logits = [self.sized_logits(canvas, images) for canvas in canvases]
        else:
            logits = [self._cell_logits(canvas, cells) for canvas in canvases]
        return tuple(logits) if weighted else logits[0]

    def trace(self, images, iterations, canvas=None) -> tf.Tensor:
        """The canvas of every iteration.

        Args:
          images: RGB 0-255, uint8 or float, `(batch, H, W, 3)`.
          iterations: how many.
          canvas: logits to start from, or None.

        Returns:
          `(iterations, batch, h, w, classes)`, float32.
        """
        prepared = self.prepare(self.encode(images))
        return self._iterate(prepared, iterations, canvas, None, keep=True)[2]

    def _iterate(self, prepared, iterations, canvas, state, keep):
        """The canvas loop; `keep` decides whether the third result holds every canvas."""
        if not tf.is_tensor(iterations):
            check_positive("iterations", iterations)
        gates = self.stack.gates(prepared)
        start_canvas, start_state = self.stack.start(prepared)
        blank = state is None and not self.stack.learned_start
        if canvas is not None:
            canvas = self._check_canvas(canvas, start_canvas.shape)
        elif not blank:
            canvas = start_canvas
        if state is None and not blank:
            state = start_state
        iterations = tf.cast(iterations, tf.int32)
        every = ()
        if keep:
            every = tf.TensorArray(tf.float32, iterations, element_shape=start_canvas.shape)

        def body(step, canvas, state, every):
            canvas, state = self.stack(gates, canvas, state)
            return step + 1, canvas, state, every.write(step, canvas) if keep else every

        variables = (tf.constant(0), canvas, state, every)
        if blank:
            variables = body(*variables)  # not in the loop, since with zeros there is less to do
        _, canvas, state, every = tf.while_loop(
            lambda step, *_: step < iterations,
            body,
            variables,
            # Iterations wait for one another anyway; more would only keep buffers alive.
            parallel_iterations=1,
        )
        return canvas, state, every.stack() if keep else None

    def _canvases(self, prepared, iterations, canvas, kept):
        """The canvases after the iterations `kept`, or after the last where that is empty.

        Returns:
          `(several, batch, h, w, classes)`.
        """
        canvas, _, every = self._iterate(prepared, iterations, canvas, None, keep=bool(kept))
        return tf.stack([every[n - 1] for n in kept] if kept else [canvas])

    def _recomputed_canvases(self, prepared, iterations, canvas, kept):
        """`_canvases`, whose gradient takes about the memory of a single iteration's."""
        shape = prepared.shape[:3].concatenate([self.num_classes])
        place = tf.unstack(tf.shape(prepared)[:3])
        inputs = [prepared]
        if canvas is not None:
            inputs.append(self._check_canvas(canvas, shape))
        if self.stack.kernel_size == 1:
            # Pixels are as independent of one another as images are.
            inputs = [tf.reshape(each, (-1, 1, 1, each.shape[3])) for each in inputs]
        canvases = recomputation.recomputed(
            lambda prepared, canvas=None: self._canvases(prepared, iterations, canvas, kept),
            iterations,
            *inputs,
        )
        canvases = tf.reshape(canvases, [-1, *place, self.num_classes])
        return tf.ensure_shape(canvases, [None, *shape])

    def _at_corners(self, features, cells):
        """The features at the corners of cells, an image each, `(batch * cells, 2, 2, channels)`.

        Args:
          features: from `encode`.
          cells: as in `SampledImages`.
        """
        if self.stack.kernel_size > 1:
            raise UserError(
                f"kernel_size={self.stack.kernel_size}: only with kernels of 1 are pixels "
                "independent, so that some can be sampled; train on whole images"
            )
        corners = cells[:, :, tf.newaxis] + tf.constant([(0, 0), (0, 1), (1, 0), (1, 1)])
        features = tf.gather_nd(features, corners, batch_dims=1)
        return tf.reshape(features, (-1, 2, 2, features.shape[-1]))

    def _cell_logits(self, canvas, cells):
        """The logits of cells, one below the other, from the canvas at their corners."""
        side = self.output_stride
        logits = self.logits(canvas, (side, side))
        height = tf.shape(cells)[1] * side
        logits = tf.reshape(logits, (tf.shape(cells)[0], height, side, self.num_classes))
        return tf.ensure_shape(logits, (cells.shape[0], None, side, self.num_classes))

    def _check_canvas(self, canvas, shape):
        canvas = tf.cast(canvas, tf.float32)
        if not canvas.shape.is_compatible_with(shape):
            raise UserError(
                f"canvas of shape {canvas.shape}: expected {shape}, the logits of "
                f"{self.num_classes} classes at the features' size"
            )
        return tf.ensure_shape(canvas, shape)

    # --- training ---

    def _weighted_iterations(self) -> list[int]:
        if self.iteration_weights is None:
            return []
        return [n for n, weight in enumerate(self.iteration_weights, start=1) if weight]

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The compiled loss; with `iteration_weights` its weighted mean over the iterations."""
        if not isinstance(y_pred, tuple):
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        weights = [weight for weight in self.iteration_weights if weight]
        # Every term holds the L2 penalty once; weights that sum to one leave it as it is.
        return sum(
            weight
            / sum(weights)
            * super(RecurrentSegmenter, self).compute_loss(x, y, logits, sample_weight, training)
            for weight, logits in zip(weights, y_pred, strict=True)
        )

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """The compiled metrics, of the last iteration."""
        last = y_pred[-1] if isinstance(y_pred, tuple) else y_pred
        return super().compute_metrics(x, y, last, sample_weight)

    # --- saving ---

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs; a saved file holds the weights beside it."""
        return dict(
            super().get_config(),
            **self._options,
            iterations=self.iterations,
            iteration_weights=self.iteration_weights,
        )

    def _config_at(self, config, output_stride):
        config = super()._config_at(config, output_stride)
        if self._options["kernel_size"] > 1:
            rate = self._options["dilation_rate"] * self.output_stride
            if rate % output_stride:
                raise UserError(
                    f"output stride {output_stride}: kernels {self._options['dilation_rate']} "
                    f"apart at output stride {self.output_stride} cannot be drawn together so far"
                )
            config["dilation_rate"] = rate // output_stride
        return config


def _check_iteration_weights(weights: Sequence[float], iterations: int) -> None:
    if len(weights) != iterations or min(weights) < 0 or not weights[-1]:
        raise UserError(
            f"iteration_weights={list(weights)}: expected {iterations} numbers of at least 0, one "
            "an iteration, the last one above 0"
        )
