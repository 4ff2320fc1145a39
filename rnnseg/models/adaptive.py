"""Adaptive stopping: iterations only where the prediction has not settled.

After every iteration the *outlook* extrapolates the canvas: it is the canvas after the last
iteration if all remaining iterations add the same increment as this one. The change of the
increment since the iteration before, times the number of remaining iterations, bounds the error of
the outlook: its *doubt*. A canvas pixel has settled when its doubt is below its *margin*. If all
neighbours have its class, the margin is the lead of the best class over the second best in the
outlook, since only the class is read there. Beside another class a border is read, whose position
depends on the size of the leads: there the margin is a fifth of the lead.

A settled pixel stops, and its outlook is its answer. With the canvas of its last iteration instead,
borders would move towards it, because the canvases of its active neighbours keep growing.

McIntosh et al., 2017, ask for such a criterion in their discussion. Adaptive computation time
(Graves, 2016; in space, Figurnov et al., 2017) learns in training when to stop; here nothing is
trained, so that every recurrent model can stop.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from rnnseg.checks import check_positive
from rnnseg.errors import UserError

if TYPE_CHECKING:  # it imports this module
    from rnnseg.models.recurrent import RecurrentSegmenter

# The margin beside another class, as a share of the lead.
_AT_BORDER = 0.2

# The number of active pixels is rounded up to a multiple of this, so that few numbers occur: oneDNN
# compiles its kernels for each number, which takes longer than the additional pixels.
_MULTIPLE = 16


def refine_pixels(
    model: RecurrentSegmenter,
    prepared: tf.Tensor,
    iterations: int | tf.Tensor,
    threshold: float = 1.0,
    canvas: tf.Tensor | None = None,
    state: Any = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Runs iterations on every canvas pixel until it has settled.

    After 1, 2, 4, 8, … iterations the settled pixels stop, except for a few that round the number
    of active pixels up to a multiple of 16. Active pixels get the result of `model.refine`, up to
    rounding.

    Args:
      model: the model, with `kernel_size` 1, so that pixels are independent.
      prepared: from `model.prepare`.
      iterations: the largest number of iterations; positive, or a scalar integer tensor.
      threshold: a pixel stops when its doubt is below this many margins; at least 0. The higher,
        the earlier pixels stop. With 0 none stops, and the canvas is that of `model.refine`, bit
        for bit.
      canvas: logits to start from, `(batch, h, w, classes)`; None for the initial canvas.
      state: the state of earlier iterations; None for the initial state.

    Returns:
      The canvas, float32, `(batch, h, w, classes)`, and the number of iterations of each canvas
      pixel, int32, `(batch, h, w)`.

    Raises:
      UserError: larger kernels, a threshold out of its range, or a canvas of another shape.
    """
    if model.stack.kernel_size != 1:
        raise UserError(
            f"kernel_size={model.stack.kernel_size}: only with kernels of 1 are pixels "
            "independent, so that each can stop by itself; stop whole images by "
            "rnnseg.models.adaptive.refine_images"
        )
    canvas, spent = _refine(_Pixels(threshold), model, prepared, iterations, canvas, state)
    return canvas, tf.reshape(spent, tf.shape(canvas)[:3])


def refine_images(
    model: RecurrentSegmenter,
    prepared: tf.Tensor,
    iterations: int | tf.Tensor,
    threshold: float = 0.25,
    canvas: tf.Tensor | None = None,
    state: Any = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Runs iterations on every image of a batch until it has settled.

    Args:
      model: the model.
      prepared: from `model.prepare`.
      iterations: the largest number of iterations; positive, or a scalar integer tensor.
      threshold: an image stops, after any iteration, when the share of its canvas pixels that have
        not settled is below this; at least 0. The higher, the earlier images stop. With 0 none
        stops, and the canvas is that of `model.refine`, bit for bit.
      canvas: logits to start from, `(batch, h, w, classes)`; None for the initial canvas.
      state: the state of earlier iterations; None for the initial state.

    Returns:
      The canvas, float32, `(batch, h, w, classes)`, and the number of iterations of each image,
      int32, `(batch,)`.

    Raises:
      UserError: a threshold out of its range, or a canvas of another shape.
    """
    return _refine(_Images(threshold), model, prepared, iterations, canvas, state)


class _Pixels:
    """The items that stop are canvas pixels: `(batch * h * w, …)`, from `(batch, h, w, …)`."""

    def __init__(self, threshold: float):
        self.threshold = threshold

    def split(self, grid):
        return tf.reshape(grid, [-1, *grid.shape[3:]])

    def join(self, items):
        return items[tf.newaxis, tf.newaxis]

    def next_look(self, done):
        # Most pixels settle early, and a check costs time, too.
        return 2 * done

    def going(self, doubt, margin):
        settled = doubt < self.threshold * margin
        first, others = tf.where(~settled)[:, 0], tf.where(settled)[:, 0]
        return tf.concat([first, others], 0)[: -(-tf.size(first) // _MULTIPLE) * _MULTIPLE]


class _Images:
    """The items that stop are the images of a batch."""

    def __init__(self, threshold: float):
        self.threshold = threshold

    def split(self, grid):
        return grid

    def join(self, items):
        return items

    def next_look(self, done):
        return done + 1

    def going(self, doubt, margin):
        unsettled = tf.reduce_mean(tf.cast(~(doubt < margin), tf.float32), axis=(1, 2))
        return tf.where(~(unsettled < self.threshold))[:, 0]


def _refine(
    items: _Pixels | _Images, model: RecurrentSegmenter, prepared, iterations, canvas, state
) -> tuple[tf.Tensor, tf.Tensor]:
    """Runs the loop: find what has settled, gather the rest, refine it, scatter it back."""
    if not items.threshold >= 0:
        raise UserError(f"threshold={items.threshold}: expected a number of at least 0")
    if not tf.is_tensor(iterations):
        check_positive("iterations", iterations)
    iterations = tf.cast(iterations, tf.int32)
    total = tf.shape(items.split(prepared))[0]
    if items.threshold == 0:
        # The loop below may round sums of other shapes in another order.
        canvas, _ = model.refine(prepared, iterations, canvas, state)
        return canvas, tf.fill([total], iterations)

    def increment(state):
        return model.stack.increment(state[-1].h)

    first, *others = model.stack.gate_weights(prepared)
    canvas, state = model.refine(prepared, 1, canvas, state)
    grid = tf.shape(canvas)

    def record(done, index, canvas, state, outlook, spent):
        """Stores the outlook of the active items, and the iterations spent on them."""
        place = index[:, tf.newaxis]
        remaining = tf.cast(iterations - done, tf.float32) * increment(state)
        outlook = tf.tensor_scatter_nd_update(outlook, place, canvas + remaining)
        return outlook, tf.tensor_scatter_nd_update(spent, place, tf.fill(tf.shape(index), done))

    def body(done, index, rows, change, outlook, spent):
        own_canvas, own_state = rows[1:]
        outlook, spent = record(done, index, own_canvas, own_state, outlook, spent)
        margin = tf.gather(items.split(_margins(tf.reshape(outlook, grid))), index)
        going = items.going(tf.cast(iterations - done, tf.float32) * change, margin)
        index, rows = tf.cond(
            tf.size(going) < tf.size(index),
            lambda: tf.nest.map_structure(lambda each: tf.gather(each, going), (index, rows)),
            lambda: (index, rows),
        )
        offsets, canvas, state = tf.nest.map_structure(items.join, rows)
        weights = (first._replace(offsets=offsets), *others)

        def iterate(step, canvas, state, _):
            return step + 1, *model.stack(canvas, state, weights), increment(state)

        until = tf.minimum(items.next_look(done), iterations)
        done, canvas, state, before = tf.while_loop(
            # Convolutions of empty tensors fail.
            lambda step, *_: (step < until) & (tf.size(index) > 0),
            iterate,
            (done, canvas, state, increment(state)),
            parallel_iterations=1,
        )
        rows = tf.nest.map_structure(items.split, (offsets, canvas, state))
        return done, index, rows, items.split(_change(before, increment(state))), outlook, spent

    rows = tf.nest.map_structure(items.split, (first.offsets, canvas, state))
    going = (tf.range(total), rows, items.split(_change(0.0, increment(state))))
    known = (tf.zeros_like(rows[1]), tf.zeros([total], tf.int32))
    done, index, rows, _, outlook, spent = tf.while_loop(
        lambda done, index, *_: (done < iterations) & (tf.size(index) > 0),
        body,
        (tf.constant(1), *going, *known),
        shape_invariants=(
            tf.TensorShape([]),
            *tf.nest.map_structure(lambda each: tf.TensorShape([None, *each.shape[1:]]), going),
            *tf.nest.map_structure(lambda each: each.shape, known),
        ),
        parallel_iterations=1,
    )
    last_canvas, last_state = rows[1:]
    outlook, spent = record(done, index, last_canvas, last_state, outlook, spent)
    outlook = tf.reshape(outlook, grid)
    return tf.ensure_shape(outlook, canvas.shape), spent


def _change(before, increment):
    """Returns the largest change of an increment since the last iteration, `(batch, h, w)`."""
    return tf.reduce_max(tf.abs(increment - before), axis=-1)


def _margins(outlook):
    """Returns the error of the outlook that leaves the prediction as it is, `(batch, h, w)`."""
    classes = tf.argmax(outlook, axis=-1, output_type=tf.int32)
    is_best = tf.one_hot(classes, outlook.shape[-1], on_value=True, off_value=False)
    second = tf.reduce_max(tf.where(is_best, -math.inf, outlook), axis=-1)
    lead = tf.reduce_max(outlook, axis=-1) - second
    return tf.where(_amid(classes), lead, _AT_BORDER * lead)


def _amid(classes):
    """Returns True for pixels whose eight neighbours have their class, `(batch, h, w)`."""
    # Max pooling of the classes and of their negatives would take several times as long.
    alike = tf.pad(
        classes[:, :, 1:] == classes[:, :, :-1], [[0, 0], [0, 0], [1, 1]], constant_values=True
    )
    in_row = alike[:, :, 1:] & alike[:, :, :-1]
    alike = tf.pad(
        (classes[:, 1:] == classes[:, :-1]) & in_row[:, 1:] & in_row[:, :-1],
        [[0, 0], [1, 1], [0, 0]],
        constant_values=True,
    )
    return in_row & alike[:, 1:] & alike[:, :-1]
