"""The moving average of the trained weights, in the place of the weights."""

import contextlib
from collections.abc import Iterator

import keras


@contextlib.contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Gives a model its averaged weights for the time of a `with` block.

    The average `a` of weights `w` after a step is `decay * a + (1 - decay) * w`, and the weights
    themselves after the first step. The optimizer keeps it (`use_ema` in Keras). Statistics of
    batch norm are moving averages anyway and stay as they are. Within the block, the optimizer
    keeps the weights: a model that is saved there predicts with the average, and goes on in
    training with its own weights after `swap_averages`.

    Args:
      model: the model; nothing happens if its optimizer keeps no average.
    """
    swap_averages(model)
    try:
        yield
    finally:
        swap_averages(model)


def swap_averages(model: keras.Model) -> None:
    """Exchanges the weights of a model and their averages in its optimizer, if there are any.

    `keras.callbacks.SwapEMAWeights` exchanges them by sums and differences, which rounds them. It
    also takes the weights of a loaded model for its own, though the average was saved.

    Args:
      model: the compiled model.
    """
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if not optimizer.use_ema or not optimizer.built:
        return
    # Keras has no public name for the averages.
    pairs = zip(
        optimizer._trainable_variables, optimizer._model_variables_moving_average, strict=True
    )
    for weight, average in pairs:
        values = weight.numpy(), average.numpy()
        weight.assign(values[1])
        average.assign(values[0])
