"""Stopping by itself: iterations only for what has not settled yet.

After every iteration the *outlook* tells where the canvas is going: it is what the last iteration
will leave if all that remain add what this one has added. How much that has changed since the
iteration before, times the iterations that remain, is how far the outlook may be wrong, its
*doubt*. A canvas pixel has settled when its doubt is below its *margin*. Amid neighbours of its
class the margin is the lead of the best class over the second in the outlook, since nothing but the
class is read there. Beside another class a border is read, whose place depends on how large the
leads are: the margin is a fifth of the lead.

What has settled stops, and its outlook is its answer. Were it left with the canvas of its last
iteration, borders would move towards it, because the canvas of a neighbour that goes on keeps
growing.

McIntosh et al., 2017, ask for such a criterion in their discussion. Adaptive computation time
(Graves, 2016; in space, Figurnov et al., 2017) learns in training when to stop; here nothing is
trained, and every recurrent model can do it.
"""

import math

import tensorflow as tf

from rnnseg.checks import check_positive
from rnnseg.errors import UserError

# The margin beside another class, in leads.
_AT_BORDER = 0.2

# Pixels go on in a multiple of this, so that the same numbers of them come again and again: oneDNN
# compiles its kernels for each, which takes longer than the pixels that an exact number spares.
_MULTIPLE = 16


def refine_pixels(model, prepared, iterations, threshold: float = 1.0, canvas=None):
    """Runs iterations on every canvas pixel until it has settled.

    After 1, 2, 4, 8, … iterations those that have settled stop; some of them go on to make the
    number of all that do a multiple of 16. Who goes on gets what `model.refine` gives, to rounding.

    Args:
      model: a `RecurrentSegmenter` with `kernel_size` 1, so that pixels are independent.
      prepared: from `model.prepare`.
      iterations: how many at most; a positive number, or a scalar integer tensor.
      threshold: what a pixel's doubt has to be below, in margins; at least 0. The higher, the
        earlier pixels stop. With 0 none does, and the canvas is that of `model.refine`, bit for
        bit.
      canvas: logits to start from, `(batch, h, w, classes)`; None for the start of training.

    Returns:
      The canvas, float32, `(batch, h, w, classes)`, and how many iterations each of its pixels
      took, int32, `(batch, h, w)`.

    Raises:
      UserError: larger kernels, a threshold out of its range, or a canvas of another shape.
    """
    if model.stack.kernel_size != 1:
        raise UserError(
            f"kernel_size={model.stack.kernel_size}: only with kernels of 1 are pixels "
            "independent, so that some can stop alone; stop whole images by "
            "rnnseg.models.adaptive.refine_images"
        )
    canvas, spent = _refine(_Pixels(threshold), model, prepared, iterations, canvas)
    return canvas, tf.reshape(spent, tf.shape(canvas)[:3])


def refine_images(model, prepared, iterations, threshold: float = 0.25, canvas=None):
    """Runs iterations on every image of a batch until it has settled.

    Args:
      model: a `RecurrentSegmenter`.
      prepared: from `model.prepare`.
      iterations: how many at most; a positive number, or a scalar integer tensor.
      threshold: what the share of its canvas pixels that have not settled has to be below for an
        image to stop, after any iteration; at least 0. The higher, the earlier it stops. With 0
        none does, and the canvas is that of `model.refine`, bit for bit.
      canvas: logits to start from, `(batch, h, w, classes)`; None for the start of training.

    Returns:
      The canvas, float32, `(batch, h, w, classes)`, and how many iterations each image took,
      int32, `(batch,)`.

    Raises:
      UserError: a threshold out of its range, or a canvas of another shape.
    """
    return _refine(_Images(threshold), model, prepared, iterations, canvas)


class _Pixels:
    """Canvas pixels as the items that stop: `(batch * h * w, …)`, made of `(batch, h, w, …)`."""

    def __init__(self, threshold: float):
        self.threshold = threshold

    def split(self, grid):
        return tf.reshape(grid, [-1, *grid.shape[3:]])

    def join(self, items):
        return items[tf.newaxis, tf.newaxis]

    def next_look(self, done):
        # Most settle early, and to look and to gather takes time, too.
        return 2 * done

    def going(self, doubt, margin):
        settled = doubt < self.threshold * margin
        first, others = tf.where(~settled)[:, 0], tf.where(settled)[:, 0]
        return tf.concat([first, others], 0)[: -(-tf.size(first) // _MULTIPLE) * _MULTIPLE]


class _Images:
    """Images of a batch as the items that stop."""

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


def _refine(items, model, prepared, iterations, canvas):
    """The loop: look what has settled, gather what has not, refine it, scatter it back."""
    if not items.threshold >= 0:
        raise UserError(f"threshold={items.threshold}: expected a number of at least 0")
    if not tf.is_tensor(iterations):
        check_positive("iterations", iterations)
    iterations = tf.cast(iterations, tf.int32)
    total = tf.shape(items.split(prepared))[0]
    if items.threshold == 0:
        # Not by the loop below, where other shapes may be rounded in another order.
        return model.refine(prepared, iterations, canvas)[0], tf.fill([total], iterations)

    first, *others = model.stack.gate_weights(prepared)
    canvas, state = model.refine(prepared, 1, canvas)
    grid = tf.shape(canvas)

    def record(done, index, canvas, state, outlook, spent):
        """Writes down what is known of the items that have gone on."""
        place = index[:, tf.newaxis]
        # What the last layer puts out is what an iteration adds to the canvas.
        remaining = tf.cast(iterations - done, tf.float32) * tf.cast(state[-1].h, tf.float32)
        outlook = tf.tensor_scatter_nd_update(outlook, place, canvas + remaining)
        return outlook, tf.tensor_scatter_nd_update(spent, place, tf.fill(tf.shape(index), done))

    def body(done, index, rows, change, outlook, spent):
        outlook, spent = record(done, index, *rows[1:], outlook, spent)
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
            return step + 1, *model.stack(canvas, state, weights), state[-1].h

        until = tf.minimum(items.next_look(done), iterations)
        done, canvas, state, before = tf.while_loop(
            # Convolutions of nothing fail.
            lambda step, *_: (step < until) & (tf.size(index) > 0),
            iterate,
            (done, canvas, state, state[-1].h),
            parallel_iterations=1,
        )
        rows = tf.nest.map_structure(items.split, (offsets, canvas, state))
        return done, index, rows, items.split(_change(before, state)), outlook, spent

    rows = tf.nest.map_structure(items.split, (first.offsets, canvas, state))
    going = (tf.range(total), rows, items.split(_change(0.0, state)))
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
    outlook, spent = record(done, index, *rows[1:], outlook, spent)
    outlook = tf.reshape(outlook, grid)
    return tf.ensure_shape(outlook, canvas.shape), spent


def _change(before, state):
    """The largest difference of an increment from the one before it, `(batch, h, w)`."""
    added, before = (tf.cast(each, tf.float32) for each in (state[-1].h, before))
    return tf.reduce_max(tf.abs(added - before), axis=-1)


def _margins(outlook):
    """How far the outlook of each pixel may be wrong and nothing else be read, `(batch, h, w)`."""
    classes = tf.argmax(outlook, axis=-1, output_type=tf.int32)
    is_best = tf.one_hot(classes, outlook.shape[-1], on_value=True, off_value=False)
    second = tf.reduce_max(tf.where(is_best, -math.inf, outlook), axis=-1)
    lead = tf.reduce_max(outlook, axis=-1) - second
    return tf.where(_amid(classes), lead, _AT_BORDER * lead)


def _amid(classes):
    """Whether all eight neighbours of a pixel have its class, `(batch, h, w)`."""
    # Max pooling of the classes and of their negatives would tell, in several times the time.
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
