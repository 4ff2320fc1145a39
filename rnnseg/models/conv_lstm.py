"""The convolutional LSTM cell and the stack of them that refines the canvas."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from rnnseg.models import geometry
from rnnseg.models.encoder import Depth
from rnnseg.models.inspection import InspectedLayer


class LSTMState(NamedTuple):
    """The state of one ConvLSTM layer; both tensors have the shape `(batch, h, w, filters)`.

    Attributes:
      h: the output of the last iteration, in the compute dtype.
      c: the memory of the cell, always float32, since it sums over all iterations.
    """

    h: tf.Tensor
    c: tf.Tensor


class GateWeights(NamedTuple):
    """The loop-invariant weights of a cell's gates, in the compute dtype.

    They are cast and split before the loop; inside it that would be done at every iteration.

    Attributes:
      kernels: one per gate, `(channels, filters)`; kernels larger than 1x1 stay together, as
        `(side, side, channels, 4 * filters)`.
      offsets: what is added to the product with each kernel: a bias, or a tensor of the same height
        and width as the inputs.
    """

    kernels: tuple[tf.Tensor, ...]
    offsets: tuple[tf.Tensor, ...]


class _GateBias(keras.initializers.Initializer):
    """Zeros, but ones for the forget gate: a new cell remembers (Jozefowicz et al., 2015)."""

    def __call__(self, shape, dtype=None):
        filters = shape[0] // 4
        return keras.ops.concatenate(
            [
                keras.ops.zeros((filters,), dtype),
                keras.ops.ones((filters,), dtype),
                keras.ops.zeros((2 * filters,), dtype),
            ]
        )


_POINTWISE = dict(kernel_size=1, dilation_rate=1)
_ACTIVATIONS = (tf.sigmoid, tf.sigmoid, tf.tanh, tf.sigmoid)


def _each_gate(tensor) -> list[tf.Tensor]:
    return tf.split(tensor, 4, axis=-1)


def _as_grid(pixels, like) -> tf.Tensor:
    """Reshapes rows of pixels to the batch, height and width of `like`, `(batch, h, w, any)`."""
    return tf.reshape(pixels, tf.concat([tf.shape(like)[:-1], pixels.shape[-1:]], 0))


def _gate_convolution(filters, kernel_size, dilation_rate, **kwargs) -> keras.layers.Conv2D:
    return keras.layers.Conv2D(
        4 * filters, kernel_size, dilation_rate=dilation_rate, padding="same", **kwargs
    )


class ConvLSTM2DCell(InspectedLayer):
    """One iteration of a convolutional LSTM (Shi et al., 2015, without peepholes).

    `cell(inputs, state) -> output, state`. With `*` for a "same" convolution over the concatenation
    of the inputs and the last output:

        i, f, g, o = split(W * [x, h] + b)
        c' = sigmoid(f) c + sigmoid(i) tanh(g)
        h' = sigmoid(o) tanh(c')

    `keras.layers.ConvLSTM2D` runs whole sequences only, splits the convolution in eight and needs
    operators that LiteRT does not have.

    With 1x1 kernels, each gate is a matrix product of its own: TensorFlow fuses the activation into
    the product, and the gates need no copies to be split.

    Args:
      filters: the number of output channels.
      kernel_size: the side of the square kernel, in canvas pixels.
      dilation_rate: the spacing of the kernel's taps.
      use_bias: False for a cell without `b`, whose `gate_weights` always get a share instead.
      kernel_regularizer: the Keras regularizer of `W`.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 1,
        dilation_rate: int = 1,
        use_bias: bool = True,
        kernel_regularizer: keras.Regularizer | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("autocast", False)  # c stays float32 under mixed precision
        super().__init__(**kwargs)
        self.filters = filters
        self._pointwise = kernel_size == 1
        self.convolution = _gate_convolution(
            filters,
            kernel_size,
            dilation_rate,
            use_bias=use_bias,
            bias_initializer=_GateBias(),
            kernel_regularizer=kernel_regularizer,
            dtype=self.dtype_policy,
            name="gates",
        )

    def build(self, input_shape: Sequence[Any]) -> None:
        """Creates the kernel for inputs of shape `(batch, h, w, channels)`."""
        self.convolution.build((*input_shape[:-1], input_shape[-1] + self.filters))
        self.built = True

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Returns the shape of the output, `(batch, h, w, filters)`."""
        return (*input_shape[:-1], self.filters)

    def gate_weights(self, share: tf.Tensor | None = None) -> GateWeights:
        """Returns the loop-invariant weights, for all calls of one loop.

        Args:
          share: the part of the gates that was computed beforehand and takes the place of `b`,
            `(batch, h, w, 4 * filters)`; or None.
        """
        kernel = tf.cast(self.convolution.kernel, self.compute_dtype)
        offset = tf.cast(self.convolution.bias if share is None else share, self.compute_dtype)
        if not self._pointwise:
            return GateWeights((kernel,), (offset,))
        return GateWeights(tuple(_each_gate(kernel[0, 0])), tuple(_each_gate(offset)))

    def call(
        self, inputs: tf.Tensor | None, state: LSTMState | None, weights: GateWeights
    ) -> tuple[tf.Tensor, LSTMState]:
        """Runs one iteration.

        Args:
          inputs: `(batch, h, w, channels)`; None for zeros, if the state is None, too.
          state: the state of the last iteration; None for zeros. Products with these zeros are left
            out.
          weights: from `gate_weights`.

        Returns:
          The output, `(batch, h, w, filters)`, and the new state.
        """
        if inputs is None:
            grid, gates = weights.offsets[0], list(weights.offsets)
        else:
            grid = inputs
            gates = self._products(inputs, None if state is None else state.h, weights)
        if not self._pointwise:
            gates = _each_gate(gates[0])
        i, f, g, o = (
            _as_grid(activation(tf.cast(gate, tf.float32)), grid)
            for activation, gate in zip(_ACTIVATIONS, gates, strict=True)
        )
        c = i * g if state is None else f * state.c + i * g
        h = tf.cast(o * tf.tanh(c), self.compute_dtype)
        return h, LSTMState(h, c)

    def _products(self, inputs, h, weights: GateWeights) -> list[tf.Tensor]:
        """Computes `W * [x, h] + b`, or `W * x + b` if `h` is None."""
        seen, kernels = tf.cast(inputs, self.compute_dtype), list(weights.kernels)
        if h is None:
            kernels = [kernel[..., : seen.shape[-1], :] for kernel in kernels]
        else:
            seen = tf.concat([seen, h], axis=-1)
        seen = self._flat(seen)
        sums = []
        for kernel, offset in zip(kernels, weights.offsets, strict=True):
            if self._pointwise:
                product = tf.matmul(seen, kernel)
            else:
                product = self.convolution.convolution_op(seen, kernel)
            # TensorFlow fuses a product, a bias and an activation into one operation.
            bias = offset.shape.rank == 1
            sums.append(tf.nn.bias_add(product, offset) if bias else product + self._flat(offset))
        return sums

    def _flat(self, tensor) -> tf.Tensor:
        """Returns the pixels as rows of a matrix if the kernels are 1x1."""
        return tf.reshape(tensor, (-1, tensor.shape[-1])) if self._pointwise else tensor


class ConvLSTMStack(InspectedLayer):
    """ConvLSTM layers whose last output is added to the canvas (McIntosh et al., 2017, section 3).

    The first layer sees the features and the canvas. The features are the same at every iteration,
    so `prepare` computes their share of its gates once. Convolution is linear, so the sum equals
    the result of one kernel over features, canvas and state.

    Features of several depths have a 1x1 convolution each, at their own resolution; the results are
    upsampled to that of the canvas and added. That is the same as one convolution over the
    upsampled features, for a fraction of the cost.

    Args:
      depths: the features that `prepare` gets, the deepest ones last.
      canvas_stride: input pixels per canvas pixel; it divides the strides of all features.
      num_classes: the width of the last layer and of the canvas.
      hidden_channels: the widths of the layers before it, from the first.
      kernel_size: the side of the kernels in all layers; with 1 every canvas pixel has a recurrence
        of its own.
      dilation_rate: the spacing of the kernels' taps.
      learned_start: True if canvas and state start from trained values, one per channel, instead of
        zeros.
      increment_scale: the first value of a trained factor of what is added to the canvas; 0: no
        factor.
      kernel_regularizer: the Keras regularizer of all kernels.
    """

    def __init__(
        self,
        depths: Sequence[Depth],
        canvas_stride: int,
        num_classes: int,
        hidden_channels: Sequence[int],
        kernel_size: int = 1,
        dilation_rate: int = 1,
        learned_start: bool = False,
        increment_scale: float = 0.0,
        kernel_regularizer: keras.Regularizer | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("autocast", False)
        super().__init__(**kwargs)
        self._first_scale = increment_scale
        self.num_classes = num_classes
        self.kernel_size = kernel_size
        self.widths = (*hidden_channels, num_classes)
        self.learned_start = learned_start
        self._depths = tuple(depths)
        self._factors = {each.name: each.stride // canvas_stride for each in depths}
        options = dict(kernel_regularizer=kernel_regularizer, dtype=self.dtype_policy)
        kernel = dict(kernel_size=kernel_size, dilation_rate=dilation_rate)
        # Kernels larger than 1x1 are those of one convolution over features, canvas and state, as
        # long as these are on the same grid.
        on_canvas = set(self._factors.values()) == {1}
        self.feature_gates = _gate_convolution(
            self.widths[0],
            **(kernel if on_canvas else _POINTWISE),
            bias_initializer=_GateBias(),
            name="feature_gates",
            **options,
        )
        # The bias of `feature_gates` is enough for all.
        self.skip_gates = [
            _gate_convolution(
                self.widths[0], **_POINTWISE, use_bias=False, name=f"skip_gates_{number}", **options
            )
            for number in range(len(depths) - 1)
        ]
        self.cells = [
            ConvLSTM2DCell(width, use_bias=layer > 0, name=f"cell_{layer}", **kernel, **options)
            for layer, width in enumerate(self.widths)
        ]
        gates = (*self.skip_gates, self.feature_gates)
        self._gates = {each.name: layer for each, layer in zip(depths, gates, strict=True)}

    def build(self, canvas_shape: Sequence[int | None] | None = None) -> None:
        """Creates all kernels; the shapes follow from the arguments of the constructor."""
        for depth in self._depths:
            self._gates[depth.name].build((None, None, None, depth.channels))
        inputs = (self.num_classes, *self.widths[:-1])
        for cell, channels in zip(self.cells, inputs, strict=True):
            cell.build((None, None, None, channels))
        self.increment_scale = None
        if self._first_scale:
            self.increment_scale = self.add_weight(
                shape=(),
                initializer=keras.initializers.Constant(self._first_scale),
                name="increment_scale",
            )
        self.initial_values = {}
        if self.learned_start:
            sizes = {"canvas": self.num_classes}
            for layer, width in enumerate(self.widths):
                sizes |= {f"h_{layer}": width, f"c_{layer}": width}
            self.initial_values = {
                name: self.add_weight(shape=(width,), initializer="zeros", name=f"initial_{name}")
                for name, width in sizes.items()
            }
        self.built = True

    def compute_output_shape(self, canvas_shape: Sequence[int | None]) -> Sequence[int | None]:
        """Returns the shape of the new canvas, that of the old one."""
        return canvas_shape

    def gates_by_variable(self) -> dict[int, str]:
        """Returns the names of the depths that the gates' weights are for, by `id(variable)`."""
        return {
            id(variable): name for name, gates in self._gates.items() for variable in gates.weights
        }

    def prepare(
        self,
        features: Mapping[str, tf.Tensor],
        prepared: tf.Tensor | None = None,
        whole_image: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Computes the features' share of the first gates.

        Args:
          features: the features of some depths, by name.
          prepared: the share of other depths, to which this one is added; None: there are none.
          whole_image: the last channels of the deepest features if they are the same at every
            pixel, `(batch, 1, 1, channels)`: with kernels of 1, their share is, too; None: all
            channels are in `features`.

        Returns:
          `(batch, h, w, 4 * widths[0])`, on the canvas.
        """
        # Features on the same grid are added there: upsampling is linear, and costs as much as the
        # convolutions.
        by_factor: dict[int, tf.Tensor] = {}
        for name, gates in self._gates.items():
            if name in features:
                x = tf.cast(features[name], self.compute_dtype)
                kernel = tf.cast(gates.kernel, self.compute_dtype)
                whole_kernel = None
                if gates is self.feature_gates and whole_image is not None:
                    own = x.shape[-1]
                    kernel, whole_kernel = kernel[..., :own, :], kernel[..., own:, :]
                share = gates.convolution_op(x, kernel)
                if prepared is None and not by_factor:
                    bias = tf.cast(self.feature_gates.bias, self.compute_dtype)
                    share = tf.nn.bias_add(share, bias)
                if whole_kernel is not None:
                    whole = tf.cast(whole_image, self.compute_dtype)
                    share += gates.convolution_op(whole, whole_kernel)
                factor = self._factors[name]
                by_factor[factor] = by_factor[factor] + share if factor in by_factor else share
        for factor, share in by_factor.items():
            spread = geometry.spread(share, factor)
            prepared = spread if prepared is None else prepared + spread
        return prepared

    def initial_state(self, prepared: tf.Tensor) -> tuple[tf.Tensor, tuple[LSTMState, ...]]:
        """Returns the initial canvas, `(batch, h, w, classes)`, and the initial state."""
        grid = tf.shape(prepared)[:3]

        def initial(name, width, dtype):
            # Known sizes stay known: reshaping zeros of a dynamic shape would hide them.
            shape = prepared.shape[:3].concatenate([width])
            if name not in self.initial_values:
                value = tf.zeros(tf.concat([grid, [width]], 0), dtype)
            else:
                value = tf.broadcast_to(
                    tf.cast(self.initial_values[name], dtype), tf.concat([grid, [width]], 0)
                )
            value.set_shape(shape)  # tf.ensure_shape is an operator that LiteRT does not have
            return value

        canvas = initial("canvas", self.num_classes, tf.float32)
        state = tuple(
            LSTMState(
                initial(f"h_{layer}", width, self.compute_dtype),
                initial(f"c_{layer}", width, tf.float32),
            )
            for layer, width in enumerate(self.widths)
        )
        return canvas, state

    def gate_weights(self, prepared: tf.Tensor) -> tuple[GateWeights, ...]:
        """Returns the loop-invariant weights, one `GateWeights` per layer.

        Args:
          prepared: from `prepare`.
        """
        first, *others = self.cells
        return (first.gate_weights(prepared), *(cell.gate_weights() for cell in others))

    def call(
        self,
        canvas: tf.Tensor | None,
        state: Sequence[LSTMState] | None,
        weights: Sequence[GateWeights],
    ) -> tuple[tf.Tensor, tuple[LSTMState, ...]]:
        """Runs one iteration.

        Args:
          canvas: float32 logits, `(batch, h, w, classes)`; None for zeros, if the state is None,
            too.
          state: one `LSTMState` per layer; None for zeros.
          weights: from `gate_weights`.

        Returns:
          The new canvas and state.
        """
        output, new_state = canvas, []
        states = [None] * len(self.cells) if state is None else state
        for cell, cell_state, cell_weights in zip(self.cells, states, weights, strict=True):
            output, cell_state = cell(output, cell_state, cell_weights)
            new_state.append(cell_state)
        increment = self.increment(output)
        return increment if canvas is None else canvas + increment, tuple(new_state)

    def increment(self, output: tf.Tensor) -> tf.Tensor:
        """Returns what an iteration adds to the canvas, float32 `(batch, h, w, classes)`.

        Args:
          output: of the last layer, its `h`.
        """
        output = tf.cast(output, tf.float32)
        return output if self.increment_scale is None else self.increment_scale * output
