"""The recurrent segmenter: a loop that adds to a canvas of class logits."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rnnseg.checks import check_positive
from rnnseg.errors import UserError
from rnnseg.models import adaptive, conv_lstm, recomputation
from rnnseg.models.context import Context
from rnnseg.models.encoder import DEEPEST, MEAN, Features, check_strides
from rnnseg.models.options import RecurrentOptions, of_saved
from rnnseg.models.supervision import SupervisedSegmenter


@keras.saving.register_keras_serializable("rnnseg")
class RecurrentSegmenter(SupervisedSegmenter):
    """Semantic segmentation that improves with every iteration and may stop after any.

    An encoder computes features of one or several depths. A stack of ConvLSTM layers sees the
    features and the canvas, and adds its output to the canvas, which holds the logits of all
    classes at the canvas stride. The prediction after any iteration is the argmax of the upsampled
    canvas (McIntosh et al., 2017, "Recurrent Segmentation for Variable Computational Budgets"). The
    first iterations may run on shallow features alone, before the encoder has computed the deep
    ones.

    Args:
      num_classes: the number of classes, which is the width of the canvas.
      class_names: one name per class, which the model carries for the commands.
      class_colors: one (red, green, blue) of 0-255 per class, likewise.
      name: the name of the model.
      dtype: the Keras dtype policy; canvas and cell state are float32 under every policy.
      **options: fields of `rnnseg.models.options.RecurrentOptions`.

    Raises:
      UserError: an argument out of its range, an unknown encoder, weights that do not fit.
    """

    recurrent = True
    options_type = RecurrentOptions

    def __init__(
        self,
        num_classes: int,
        *,
        class_names: Sequence[str] | None = None,
        class_colors: Sequence[Sequence[int]] | None = None,
        name: str = "recurrent_segmenter",
        dtype: str | keras.DTypePolicy | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            num_classes,
            class_names=class_names,
            class_colors=class_colors,
            name=name,
            dtype=dtype,
            **options,
        )
        depths = self.encoder.depths
        skip_layers = tuple(each.name for each in depths[:-1])
        chosen = dataclasses.replace(self.options, skip_layers=skip_layers)
        self.options = chosen
        check_strides(depths, self.canvas_stride)
        self.iterations = chosen.iterations
        self.iteration_weights = chosen.iteration_weights
        self.early_iterations = chosen.early_iterations
        self.context = None
        features_shape: tuple = (None, None, None, self.encoder.channels)
        if chosen.context_channels:
            self.context = Context(
                chosen.context_channels,
                chosen.output_stride,
                chosen.context_rates,
                self._kernel_regularizer,
                dtype=self.dtype_policy,
                name="context",
            )
            self.context.build(features_shape)
            features_shape = self.context.compute_output_shape(features_shape)
        depths = (*depths[:-1], depths[-1]._replace(channels=features_shape[-1]))
        self.stack = conv_lstm.ConvLSTMStack(
            depths,
            self.canvas_stride,
            num_classes,
            chosen.hidden_channels,
            chosen.kernel_size,
            chosen.dilation_rate,
            chosen.learned_start,
            chosen.increment_scale,
            self._kernel_regularizer,
            dtype=self.dtype_policy,
            name="stack",
        )
        self.stack.build((None, None, None, num_classes))
        # XLA has no gradient of a loop whose number of iterations is a tensor. Keras then compiles
        # only a model whose `supports_jit` was set to True.
        self.supports_jit = False
        self.built = True

    def _depths(self):
        options = self.options
        stride = options.canvas_stride
        finer = stride < options.output_stride
        return stride, dict(
            skip_layers=options.skip_layers,
            early_stages=len(options.early_iterations),
            skip_strides=[each for each in (4, 8, 16) if finer and each >= stride],
        )

    # --- the stages ---

    def prepare(self, features: Features, prepared: tf.Tensor | None = None) -> tf.Tensor:
        """Computes the share of the first layer's gates that depends on the features alone.

        Args:
          features: from `encode` or `encode_stage`. If they are those of a part of an image, the
            mean of the deepest ones of the whole image may be among them, as `MEAN`.
          prepared: the share of the stages before; None for the first one.

        Returns:
          `(batch, h, w, 4 * hidden_channels[0])`.
        """
        whole_image = None
        if self.context is not None and DEEPEST in features:
            given = features[DEEPEST], features.get(MEAN)
            # Larger kernels see where the image ends. Models with branches were saved by the first
            # version, and keep their answers to the last bit.
            if self.context.branches or self.stack.kernel_size > 1:
                features = {**features, DEEPEST: self.context(*given)}
            else:
                whole_image = self.context.whole_image(*given)
        return self.stack.prepare(features, prepared, whole_image)

    def canvas_of(
        self,
        images: np.ndarray | tf.Tensor,
        iterations: int | tf.Tensor,
        canvas: np.ndarray | tf.Tensor | None = None,
        stop_when_settled: bool = False,
        stages: int | None = None,
    ) -> tf.Tensor:
        """Encodes, prepares and refines; see `rnnseg.models.base.SegmentationModel.canvas_of`."""
        prepared = self._prepared(images, stages or self.stages_for(iterations))
        if not stop_when_settled:
            return self._iterate(prepared, iterations, canvas)[0]
        state, done = None, self.first_iterations[len(prepared) - 1]
        if done:
            canvas, state, _ = self._iterate(prepared[:-1], done, canvas)
        return self.refine_until_settled(prepared[-1], iterations - done, canvas, state)[0]

    def _prepared(self, images, stages: int, training=False) -> list[tf.Tensor]:
        """Returns what `prepare` gives after each of the first `stages` of the encoder."""
        names = self.encoder.stages
        found: list[Features]
        if stages == len(names):
            features = self.encode(images, training=training)
            found = [{name: features[name] for name in each} for each in names]
        else:
            found = [self.encode_stage(0, images)]
            for number in range(1, stages):
                found.append(self.encode_stage(number, found[-1]))
        return self._prepared_of(found)

    def _prepared_of(self, found: Sequence[Features]) -> list[tf.Tensor]:
        """Returns what `prepare` gives after each stage, from the features of the stages."""
        prepared: list[tf.Tensor] = []
        for features in found:
            prepared.append(self.prepare(features, prepared[-1] if prepared else None))
        return prepared

    def refine(
        self,
        prepared: tf.Tensor,
        iterations: int | tf.Tensor,
        canvas: tf.Tensor | None = None,
        state: Any = None,
    ) -> tuple[tf.Tensor, Any]:
        """Runs iterations on a canvas.

        Args:
          prepared: from `prepare`.
          iterations: the number of iterations, positive; or a scalar integer tensor, so that one
            trace serves every number.
          canvas: logits to start from, `(batch, h, w, classes)`: the result of an earlier call, the
            last video frame's canvas, any segmentation; None for the initial canvas.
          state: the state of an earlier call; None for the initial state.

        Returns:
          The canvas, float32, and the state, one `LSTMState` per layer.
        """
        canvas, state, _ = self._iterate([prepared], iterations, canvas, state)
        return canvas, state

    def refine_until_settled(
        self,
        prepared: tf.Tensor,
        iterations: int | tf.Tensor,
        canvas: tf.Tensor | None = None,
        state: Any = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Runs iterations only where they would still change the prediction.

        With kernels of 1 every canvas pixel stops by itself, with larger ones every image does.
        `rnnseg.models.adaptive.refine_pixels` and `refine_images` take thresholds, too.

        Args:
          prepared: from `prepare`.
          iterations: the largest number of iterations; positive, or a scalar integer tensor.
          canvas: logits to start from, `(batch, h, w, classes)`; None for the initial canvas.
          state: the state of earlier iterations; None for the initial state.

        Returns:
          The canvas, float32, and the number of iterations spent, int32: on each canvas pixel,
          `(batch, h, w)`, or on each image, `(batch,)`.
        """
        independent = self.stack.kernel_size == 1
        refine = adaptive.refine_pixels if independent else adaptive.refine_images
        return refine(self, prepared, iterations, canvas=canvas, state=state)

    def unroll(
        self,
        images: np.ndarray | tf.Tensor,
        iterations: int | tf.Tensor,
        canvas: np.ndarray | tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Computes the canvas of every iteration.

        Args:
          images: RGB 0-255, uint8 or float, `(batch, H, W, 3)`.
          iterations: the number of iterations.
          canvas: logits to start from, or None.

        Returns:
          `(iterations, batch, h, w, classes)`, float32.
        """
        prepared = self._prepared(images, self.stages_for(iterations))
        return self._iterate(prepared, iterations, canvas, keep=True)[2]

    @property
    def prepared_channels(self) -> int:
        """The number of channels of what `prepare` returns: the four gates of the first layer."""
        return 4 * self.stack.widths[0]

    @property
    def state_channels(self) -> dict[str, int]:
        """The number of channels of each tensor of the LSTM state: h_0, c_0, h_1, …."""
        return {
            f"{part}_{layer}": width
            for layer, width in enumerate(self.stack.widths)
            for part in conv_lstm.LSTMState._fields
        }

    @property
    def initial_values(self) -> dict[str, tf.Tensor]:
        """The trained values that canvas and state start from; none without a learned start."""
        return self.stack.initial_values

    def iterate(
        self, prepared: tf.Tensor, canvas: tf.Tensor | None = None, state: Any = None
    ) -> tuple[tf.Tensor, Any]:
        """Runs one iteration; see `rnnseg.models.base.SegmentationModel.iterate`."""
        weights = self.stack.gate_weights(prepared)  # before the state, as in the loop
        if canvas is None or state is None:
            initial_canvas, initial_state = self.stack.initial_state(prepared)
            canvas = initial_canvas if canvas is None else canvas
            state = initial_state if state is None else state
        return self.stack(canvas, state, weights)

    # --- the loop ---

    def _iterate(self, prepared, iterations, canvas=None, state=None, keep=False):
        """Runs the loop; returns canvas, state and, if `keep`, the canvas of every iteration.

        `prepared` has what `prepare` gave after each stage of the encoder. `early_iterations` run
        on each but the last.
        """
        if not tf.is_tensor(iterations):
            check_positive("iterations", iterations)
        # XLA makes room for the activations of all iterations beforehand.
        most = iterations if self.jit_compile and not tf.is_tensor(iterations) else None
        iterations = tf.cast(iterations, tf.int32)
        canvas, state = self._starting_point(prepared[0], canvas, state)
        shape = prepared[0].shape[:3].concatenate([self.num_classes])
        kept: Any = tf.TensorArray(tf.float32, iterations, element_shape=shape) if keep else ()
        variables = (tf.constant(0), canvas, state, kept)
        for stage, seen in enumerate(prepared):
            weights = self.stack.gate_weights(seen)

            def iterate(step, canvas, state, kept, weights=weights):
                canvas, state = self.stack(canvas, state, weights)
                return step + 1, canvas, state, kept.write(step, canvas) if keep else kept

            if variables[2] is None:
                # Products with the zeros of a blank start are left out, which makes a prediction
                # with one iteration 3 to 7 % faster (`python -m experiments.blank_start`).
                variables = iterate(*variables)
            until = iterations
            if stage < len(prepared) - 1:
                until = tf.minimum(iterations, self.first_iterations[stage + 1])
            variables = tf.while_loop(
                lambda step, *_, until=until: step < until,
                iterate,
                variables,
                # Iterations wait for one another anyway; more would only keep buffers alive.
                parallel_iterations=1,
                maximum_iterations=most,
            )
        _, canvas, state, kept = variables
        return canvas, state, kept.stack() if keep else None

    def _starting_point(self, prepared, canvas, state):
        """Returns canvas and state before the first iteration; None stands for known zeros."""
        if canvas is not None:
            canvas = self._check_canvas(canvas, prepared.shape[:3].concatenate([self.num_classes]))
        if state is None and not self.stack.learned_start:
            return canvas, None
        initial_canvas, initial_state = self.stack.initial_state(prepared)
        return (
            initial_canvas if canvas is None else canvas,
            initial_state if state is None else state,
        )

    def _check_canvas(self, canvas, shape):
        canvas = tf.cast(canvas, tf.float32)
        if not canvas.shape.is_compatible_with(shape):
            raise UserError(
                f"canvas of shape {canvas.shape}: expected {shape}, the logits of "
                f"{self.num_classes} classes at a stride of {self.canvas_stride}"
            )
        return tf.ensure_shape(canvas, shape)

    # --- training ---

    def call(
        self,
        images: np.ndarray | tf.Tensor,
        iterations: int | tf.Tensor | None = None,
        canvas: np.ndarray | tf.Tensor | None = None,
        training: bool = False,
    ) -> Any:
        """Segments images of one size.

        Args:
          images: RGB 0-255, uint8 or float, `(batch, H, W, 3)`.
          iterations: the number of iterations; None for that of training.
          canvas: logits to start from, `(batch, h, w, classes)`, or None.
          training: as in Keras.

        Returns:
          Logits at the size of the images, `(batch, H, W, classes)`.
        """
        iterations = self.iterations if iterations is None else iterations
        prepared = self._prepared(images, self.stages_for(iterations), training)
        canvases = self._canvases_of_call(prepared, iterations, canvas, training)
        return self._outputs([self.sized_logits(canvas, images) for canvas in canvases])

    def _canvases_of_call(self, prepared, iterations, canvas, training) -> list[tf.Tensor]:
        """Returns the last canvas, or in training the canvas of every weighted iteration."""
        weighted = self._weighted_iterations() if self._in_loss.active else []
        run = self._canvases
        if training and self.options.recompute:
            run = self._checkpointed_canvases
        return tf.unstack(run(prepared, iterations, canvas, weighted), len(weighted) or 1)

    @property
    def logits_weights(self) -> list[float]:
        """The weights of the iterations that have any."""
        return [weight for weight in self.iteration_weights if weight]

    def _canvases(self, prepared, iterations, canvas, kept):
        """Returns the canvases after the iterations `kept`, or the last one if that is empty.

        Returns:
          `(several, batch, h, w, classes)`.
        """
        canvas, _, every = self._iterate(prepared, iterations, canvas, keep=bool(kept))
        return tf.stack([every[n - 1] for n in kept] if kept else [canvas])

    def _checkpointed_canvases(self, prepared, iterations, canvas, kept):
        """Returns `_canvases`, whose gradient needs about the memory of a single iteration's."""
        shape = prepared[0].shape[:3].concatenate([self.num_classes])
        grid = tf.unstack(tf.shape(prepared[0])[:3])
        inputs = list(prepared)
        if canvas is not None:
            inputs.append(self._check_canvas(canvas, shape))
        if self.stack.kernel_size == 1:
            # Pixels are as independent of one another as images are.
            inputs = [tf.reshape(each, (-1, 1, 1, each.shape[3])) for each in inputs]

        def run(*inputs):
            rows, more = inputs[: len(prepared)], inputs[len(prepared) :]
            return self._canvases(rows, iterations, more[0] if more else None, kept)

        canvases = recomputation.recomputed(run, iterations, *inputs)
        canvases = tf.reshape(canvases, [-1, *grid, self.num_classes])
        return tf.ensure_shape(canvases, [None, *shape])

    def _weighted_iterations(self) -> list[int]:
        numbers = [n for n, weight in enumerate(self.iteration_weights, start=1) if weight]
        return [] if numbers == [self.iterations] else numbers  # the last canvas is there anyway

    # --- saving ---

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "RecurrentSegmenter":
        """Builds an untrained model of the same structure; loading fills in the weights."""
        return super().from_config(of_saved(config))

    def _config_at(self, config, output_stride):
        config = super()._config_at(config, output_stride)
        stride = self.canvas_stride * output_stride / self.output_stride
        config["canvas_stride"] = int(stride) if stride.is_integer() else stride
        if self.options.kernel_size > 1:
            rate = self.options.dilation_rate * self.output_stride
            if rate % output_stride:
                raise UserError(
                    f"output stride {output_stride}: kernel taps {self.options.dilation_rate} "
                    f"apart at output stride {self.output_stride} cannot be moved so close together"
                )
            config["dilation_rate"] = rate // output_stride
        return config
