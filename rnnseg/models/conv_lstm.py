"""The convolutional LSTM cell and the stack of them that refines the canvas."""

from collections.abc import Sequence
from typing import NamedTuple

import keras
import tensorflow as tf


class LSTMState(NamedTuple):
    """The state of one ConvLSTM layer, both of shape `(batch, h, w, filters)`.

    Attributes:
      h: the output of the last iteration, in the compute dtype.
      c: the cell, always float32, since it sums over all iterations.
    """

    h: tf.Tensor
    c: tf.Tensor


class Gates(NamedTuple):
    """What the gates of a cell are made with, the same at every iteration, in the compute dtype.

    Made outside a loop and handed in, since inside it would be made anew at every iteration.

    Attributes:
      kernels: one a gate, `(channels, filters)`; larger ones than 1x1 are left together, `(side,
        side, channels, 4 * filters)`.
      offsets: what is added to the product with each kernel: a bias, or a tensor of the same height
        and width as the inputs.
    """

    kernels: tuple[tf.Tensor, ...]
    offsets: tuple[tf.Tensor, ...]


class _GateBias(keras.initializers.Initializer):
    """Zeros, and ones for the forget gate: a fresh cell remembers (Jozefowicz et al., 2015)."""

    def __call__(self, shape, dtype=None):
        filters = shape[0] // 4
        return keras.ops.concatenate(
            [
                keras.ops.zeros((filters,), dtype),
                keras.ops.ones((filters,), dtype),
                keras.ops.zeros((2 * filters,), dtype),
            ]
        )


_ACTIVATIONS = (tf.sigmoid, tf.sigmoid, tf.tanh, tf.sigmoid)


def _each_gate(tensor) -> list[tf.Tensor]:
    return tf.split(tensor, 4, axis=-1)


def _at_place(pixels, like) -> tf.Tensor:
    """Reshapes what has as many pixels as `like`, `(batch, h, w, any)`, to `(batch, h, w, ...)`."""
    return tf.reshape(pixels, tf.concat([tf.shape(like)[:-1], pixels.shape[-1:]], 0))


def _gate_convolution(filters, kernel_size, dilation_rate, **kwargs) -> keras.layers.Conv2D:
    return keras.layers.Conv2D(
        4 * filters, kernel_size, dilation_rate=dilation_rate, padding="same", **kwargs
    )


class ConvLSTM2DCell(keras.layers.Layer):
    """One iteration of a convolutional LSTM (Shi et al., 2015, without peepholes).

    With `*` a "same" convolution over the concatenation of input and last output:

        i, f, g, o = split(W * [x, h] + b)
        c' = sigmoid(f) c + sigmoid(i) tanh(g)
        h' = sigmoid(o) tanh(c')

    `keras.layers.ConvLSTM2D` runs whole sequences only, splits the convolution in eight and needs
    operators that LiteRT does not have; this one is an iteration that a loop can call.

    With kernels of 1, every gate is a product of matrices of its own: the activation is computed
    along with the product, and the gates need no copying apart.

    Args:
      filters: number of output channels.
      kernel_size: side of the square kernel, in pixels of the features.
      dilation_rate: spacing of the kernel's taps.
      use_bias: whether there is a `b`; a cell whose `gates` are always given something else to add
        needs none.
      kernel_regularizer: Keras regularizer of `W`.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 1,
        dilation_rate: int = 1,
        use_bias: bool = True,
        kernel_regularizer=None,
        **kwargs,
    ):
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

    def build(self, input_shape):
        """Makes the kernel for inputs of shape `(batch, h, w, channels)`."""
        self.convolution.build((*input_shape[:-1], input_shape[-1] + self.filters))
        self.built = True

    def gates(self, share=None) -> Gates:
        """What every iteration needs.

        Args:
          share: `(batch, h, w, 4 * filters)`, a share of the gates that was computed beforehand and
            takes the place of `b`, or None.
        """
        kernel = tf.cast(self.convolution.kernel, self.compute_dtype)
        offset = tf.cast(self.convolution.bias if share is None else share, self.compute_dtype)
        if not self._pointwise:
            return Gates((kernel,), (offset,))
        return Gates(tuple(_each_gate(kernel[0, 0])), tuple(_each_gate(offset)))

    def call(self, inputs, state: LSTMState | None, gates: Gates) -> tuple[tf.Tensor, LSTMState]:
        """Runs one iteration; nothing is multiplied by zeros that are known beforehand.

        Args:
          inputs: `(batch, h, w, channels)`; or None for zeros, where the state is None, too.
          state: the last iteration's, or None for zeros.
          gates: from `gates`.

        Returns:
          The output, `(batch, h, w, filters)`, and the new state.
        """
        if inputs is None:
            place, sums = gates.offsets[0], gates.offsets
        else:
            place, sums = inputs, self._sums(inputs, None if state is None else state.h, gates)
        if not self._pointwise:
            sums = _each_gate(sums[0])
        i, f, g, o = (
            _at_place(activation(tf.cast(each, tf.float32)), place)
            for activation, each in zip(_ACTIVATIONS, sums, strict=True)
        )
        c = i * g if state is None else f * state.c + i * g
        h = tf.cast(o * tf.tanh(c), self.compute_dtype)
        return h, LSTMState(h, c)

    def _sums(self, inputs, h, gates: Gates) -> list[tf.Tensor]:
        """The gates before their activations, from inputs and, unless that is None, `h`."""
        seen, kernels = tf.cast(inputs, self.compute_dtype), gates.kernels
        if h is None:
            kernels = [kernel[..., : seen.shape[-1], :] for kernel in kernels]
        else:
            seen = tf.concat([seen, h], axis=-1)
        seen = self._flat(seen)
        sums = []
        for kernel, offset in zip(kernels, gates.offsets, strict=True):
            if self._pointwise:
                product = tf.matmul(seen, kernel)
            else:
                product = self.convolution.convolution_op(seen, kernel)
            # A product, the addition of a bias and an activation TensorFlow runs as one operation.
            bias = offset.shape.rank == 1
            sums.append(tf.nn.bias_add(product, offset) if bias else product + self._flat(offset))
        return sums

    def _flat(self, tensor) -> tf.Tensor:
        """The pixels as rows of a matrix, where that is all that the kernels see."""
        return tf.reshape(tensor, (-1, tensor.shape[-1])) if self._pointwise else tensor


class ConvLSTMStack(keras.layers.Layer):
    """ConvLSTM layers whose last output is added to the canvas (McIntosh et al., 2017, section 3).

    The first layer sees the features and the canvas. The features are the same at every iteration,
    so their share of its gates is computed once, by `prepare`; convolution is linear, so the sum is
    what one kernel over features, canvas and state would give.

    Args:
      num_classes: width of the last layer and of the canvas.
      hidden_channels: widths of the layers before it, from the first.
      kernel_size: side of all kernels; 1 keeps every pixel's recurrence to itself.
      dilation_rate: spacing of the kernels' taps.
      learned_start: whether canvas and state start from trained values, one a channel, instead of
        zero.
      kernel_regularizer: Keras regularizer of all kernels.
    """

    def __init__(
        self,
        num_classes: int,
        hidden_channels: Sequence[int] = (512, 256),
        kernel_size: int = 1,
        dilation_rate: int = 1,
        learned_start: bool = False,
        kernel_regularizer=None,
        **kwargs,
    ):
        kwargs.setdefault("autocast", False)
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.kernel_size = kernel_size
        self.widths = (*hidden_channels, num_classes)
        self.learned_start = learned_start
        options = dict(
            kernel_size=kernel_size,
            dilation_rate=dilation_rate,
            kernel_regularizer=kernel_regularizer,
            dtype=self.dtype_policy,
        )
        self.feature_gates = _gate_convolution(
            self.widths[0], bias_initializer=_GateBias(), name="feature_gates", **options
        )
        self.cells = [
            ConvLSTM2DCell(width, use_bias=layer > 0, name=f"cell_{layer}", **options)
            for layer, width in enumerate(self.widths)
        ]

    def build(self, features_shape):
        """Makes all kernels for features of shape `(batch, h, w, channels)`."""
        self.feature_gates.build(features_shape)
        inputs = (self.num_classes, *self.widths[:-1])
        for cell, channels in zip(self.cells, inputs, strict=True):
            cell.build((*features_shape[:-1], channels))
        self.initial = {}
        if self.learned_start:
            channels = {"canvas": self.num_classes}
            for layer, width in enumerate(self.widths):
                channels |= {f"h_{layer}": width, f"c_{layer}": width}
            self.initial = {
                name: self.add_weight(shape=(width,), initializer="zeros", name=f"initial_{name}")
                for name, width in channels.items()
            }
        self.built = True

    def prepare(self, features) -> tf.Tensor:
        """The features' share of the first layer's gates, `(batch, h, w, 4 * widths[0])`."""
        return self.feature_gates(tf.cast(features, self.compute_dtype))

    def start(self, prepared) -> tuple[tf.Tensor, tuple[LSTMState, ...]]:
        """The canvas, `(batch, h, w, classes)`, and the state before the first iteration."""
        place = tf.shape(prepared)[:3]

        def initial(name, width, dtype):
            # Known sizes stay known: reshaping zeros of a dynamic shape would hide them.
            shape = prepared.shape[:3].concatenate([width])
            if name not in self.initial:
                value = tf.zeros(tf.concat([place, [width]], 0), dtype)
            else:
                value = tf.broadcast_to(
                    tf.cast(self.initial[name], dtype), tf.concat([place, [width]], 0)
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

    def gates(self, prepared) -> tuple[Gates, ...]:
        """What every iteration needs, one `Gates` a layer, from the result of `prepare`."""
        first, *others = self.cells
        return (first.gates(prepared), *(cell.gates() for cell in others))

    def call(self, gates, canvas, state) -> tuple[tf.Tensor, tuple[LSTMState, ...]]:
        """Runs one iteration.

        Args:
          gates: from `gates`.
          canvas: float32 logits, `(batch, h, w, classes)`; or None for zeros, where the state is
            None, too.
          state: one `LSTMState` a layer, or None for zeros.

        Returns:
          The new canvas and state.
        """
        output, new_state = canvas, []
        states = [None] * len(self.cells) if state is None else state
        for cell, cell_gates, cell_state in zip(self.cells, gates, states, strict=True):
            output, cell_state = cell(output, cell_state, cell_gates)
            new_state.append(cell_state)
        output = tf.cast(output, tf.float32)
        return output if canvas is None else canvas + output, tuple(new_state)
