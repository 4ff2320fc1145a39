"""Predictions of a model whose canvas starts from a class map."""

from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from rnnseg.data.pipeline import evaluation_images
from rnnseg.data.source import Source
from rnnseg.errors import UserError
from rnnseg.evaluation.evaluator import check_classes
from rnnseg.exporting.signatures import SEED_STRENGTH, seeded_canvas
from rnnseg.runtime import reading


class Runs:
    """The canvases of a recurrent model by iteration, from a blank start and from given ones.

    Args:
      model: a `RecurrentSegmenter`.
      iterations: how many.

    Raises:
      UserError: a feed-forward model.
    """

    def __init__(self, model, iterations: int):
        if not model.recurrent:
            raise UserError(f"{model.name} is feed-forward: expected a recurrent model")
        self.model, self.iterations = model, iterations
        image_spec = tf.TensorSpec((1, None, None, 3), tf.uint8)
        logits = tf.TensorSpec((1, None, None, model.num_classes), tf.float32)
        self._blank, self._seeded = (
            tf.function(
                lambda image, canvas=None: model.unroll(image, iterations, canvas),
                input_signature=signature,
                autograph=False,
            )
            for signature in ([image_spec], [image_spec, logits])
        )

    def blank(self, image: np.ndarray) -> np.ndarray:
        """The canvases from the start of training, one per iteration.

        Args:
          image: RGB, uint8 `(H, W, 3)`.

        Returns:
          Logits, float32 `(iterations, h, w, classes)`.
        """
        return self._blank(image[np.newaxis])[:, 0].numpy()

    def seeded(self, image: np.ndarray, seed: np.ndarray) -> np.ndarray:
        """The canvases from a seed: the seed itself, then one per iteration.

        Args:
          image: RGB, uint8 `(H, W, 3)`.
          seed: logits, float32 `(h, w, classes)`.

        Returns:
          Logits, float32 `(1 + iterations, h, w, classes)`.
        """
        canvases = self._seeded(image[np.newaxis], seed[np.newaxis])[:, 0].numpy()
        return np.concatenate([seed[np.newaxis], canvases])

    def read(self, canvases: np.ndarray, size: tuple[int, int]) -> list[np.ndarray]:
        """The class map, int32 `(H, W)`, of every canvas.

        Args:
          canvases: logits, float32 `(several, h, w, classes)`.
          size: the image's (height, width), in pixels.
        """
        stride = self.model.output_stride
        return [reading.read_sparsely(canvas, size, stride) for canvas in canvases]

    def seed(self, labels: np.ndarray, strength: float) -> np.ndarray:
        """A canvas that says what a class map says at its places.

        Args:
          labels: class indices or `IGNORE_LABEL`, of which nothing is said, `(H, W)`.
          strength: logit of a place's class; the others' is its negative.

        Returns:
          Logits, float32 `(h, w, classes)`.
        """
        model = self.model
        classes = labels[np.newaxis].astype(np.int32)
        canvas = seeded_canvas(classes, model.num_classes, model.output_stride)[0].numpy()
        return canvas * np.float32(strength / SEED_STRENGTH)


def strength(canvas: np.ndarray) -> float:
    """Returns the strength of a seed in which the best class leads as far as in a canvas.

    Args:
      canvas: logits, `(h, w, classes)`.

    Returns:
      Half of what the best class has more than the others in their mean, in the mean over the
      canvas, in logits.
    """
    best = canvas.max(-1)
    others = (canvas.sum(-1) - best) / (canvas.shape[-1] - 1)
    return float((best - others).mean() / 2)


def examples(model, source: Source, split: str) -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
    """The images of a split with labels and names, one by one, behind a progress bar.

    Raises:
      UserError: no such split, an empty one, or other classes than the model's.
    """
    check_classes(model, source)
    count = source.require_split(split)
    examples = evaluation_images(source, split).as_numpy_iterator()
    for image, label, name in tqdm(examples, split, count, unit="image", disable=None):
        yield image, label, name.decode()


def object_classes(source: Source, names: Sequence[str] | None) -> list[int]:
    """The classes that count as objects.

    Args:
      source: the data.
      names: of the classes; None: all but one that is called background.

    Raises:
      UserError: a name that no class has.
    """
    if names is None:
        names = [name for name in source.class_names if name != "background"]
    for name in names:
        if name not in source.class_names:
            raise UserError(
                f"no class of {source.name} is called {name!r}; there are "
                f"{', '.join(source.class_names)}"
            )
    return [source.class_names.index(name) for name in names]
