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


def _gate_convolution(filters, kernel_size, dilation_rate, **kwargs) -> keras.layers.Conv2D:
    return keras.layers.Conv2D(
        4 * filters, kernel_size, dilation_rate=dilation_rate, padding="same", **kwargs
    )


class ConvLSTM2DCell(keras.layers.Layer):
    """One iteration of a convolutional LSTM (Shi et al., 2015, without peepholes).

    With `*` a "same" convolution over the concatenation of input and last output:

        i, f, g, o = split(W * [x, h] + b + gates)
        c' = sigmoid(f) c + sigmoid(i) tanh(g)
        h' = sigmoid(o) tanh(c')

    `keras.layers.ConvLSTM2D` runs whole sequences only, splits the convolution in eight and needs
    operators that LiteRT does not have; this one is a single convolution that a loop can call.

    Args:
      filters: number of output channels.
      kernel_size: side of the square kernel, in pixels of the features.
      dilation_rate: spacing of the kernel's taps.
      use_bias: whether `b` is added; a cell that is always given `gates` needs none.
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

    def call(self, inputs, state: LSTMState, gates=None) -> tuple[tf.Tensor, LSTMState]:
        """Runs one iteration.

        Args:
          inputs: `(batch, h, w, channels)`.
          state: the last iteration's.
          gates: `(batch, h, w, 4 * filters)`, a share of the gates computed beforehand, or None.

        Returns:
          The output, `(batch, h, w, filters)`, and the new state.
        """
        inputs = tf.cast(inputs, self.compute_dtype)
        activations = self.convolution(tf.concat([inputs, state.h], axis=-1))
        if gates is not None:
            activations += gates
        i, f, g, o = tf.split(tf.cast(activations, tf.float32), 4, axis=-1)
        c = tf.sigmoid(f) * state.c + tf.sigmoid(i) * tf.tanh(g)
        h = tf.cast(tf.sigmoid(o) * tf.tanh(c), self.compute_dtype)
        return h, LSTMState(h, c)


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
            return tf.ensure_shape(value, shape)

        canvas = initial("canvas", self.num_classes, tf.float32)
        state = tuple(
            LSTMState(
                initial(f"h_{layer}", width, self.compute_dtype),
                initial(f"c_{layer}", width, tf.float32),
            )
            for layer, width in enumerate(self.widths)
        )
        return canvas, state

    def call(self, prepared, canvas, state) -> tuple[tf.Tensor, tuple[LSTMState, ...]]:
        """Runs one iteration.

        Args:
          prepared: from `prepare`.
          canvas: float32 logits, `(batch, h, w, classes)`.
          state: one `LSTMState` a layer.

        Returns:
          The new canvas and state.
        """
        output, gates, new_state = canvas, prepared, []
        for cell, cell_state in zip(self.cells, state, strict=True):
            output, cell_state = cell(output, cell_state, gates)
            gates = None  # only the first layer sees the features
            new_state.append(cell_state)
        return canvas + tf.cast(output, tf.float32), tuple(new_state)
