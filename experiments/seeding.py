"""Canvases that start from a class map."""

from collections.abc import Sequence

import numpy as np

from rnnseg.data.source import Source
from rnnseg.errors import UserError
from rnnseg.exporting.signatures import SEED_STRENGTH, seeded_canvas
from rnnseg.runtime import reading


class Runs:
    """The canvases of a recurrent model after each iteration, from the initial canvas and seeds.

    Args:
      model: a `RecurrentSegmenter`.
      iterations: the number of iterations.
    """

    def __init__(self, model, iterations: int):
        self.model, self.iterations = model, iterations

    def initial(self, image: np.ndarray) -> np.ndarray:
        """Computes the canvases from the initial canvas.

        Args:
          image: RGB, uint8 `(H, W, 3)`.

        Returns:
          Logits, float32 `(iterations, h, w, classes)`.
        """
        return self._unroll(image)

    def seeded(self, image: np.ndarray, seed: np.ndarray) -> np.ndarray:
        """Computes the canvases from a seed.

        Args:
          image: RGB, uint8 `(H, W, 3)`.
          seed: logits, float32 `(h, w, classes)`.

        Returns:
          Logits, float32 `(1 + iterations, h, w, classes)`: the seed, then one canvas per
          iteration.
        """
        return np.concatenate([seed[np.newaxis], self._unroll(image, seed[np.newaxis])])

    def _unroll(self, image, canvas=None) -> np.ndarray:
        stages = self.model.compiled_stages
        return stages.unroll(image[np.newaxis], self.iterations, canvas)[:, 0].numpy()

    def read(self, canvases: np.ndarray, size: tuple[int, int]) -> list[np.ndarray]:
        """Returns one class map, int32 `(H, W)`, per canvas.

        Args:
          canvases: logits, float32 `(several, h, w, classes)`.
          size: (height, width) of the image, in pixels.
        """
        stride = self.model.canvas_stride
        return [reading.read_sparsely(canvas, size, stride) for canvas in canvases]

    def seed(self, labels: np.ndarray, strength: float) -> np.ndarray:
        """Returns the canvas that holds the classes of a class map.

        Args:
          labels: class indices, or `IGNORE_LABEL` where all logits of the canvas are 0, `(H, W)`.
          strength: the logit of the class at a canvas pixel; the logits of all other classes are
            its negative.

        Returns:
          Logits, float32 `(h, w, classes)`.
        """
        model = self.model
        classes = labels[np.newaxis].astype(np.int32)
        canvas = seeded_canvas(classes, model)[0].numpy()
        return canvas * np.float32(strength / SEED_STRENGTH)


def strength(canvas: np.ndarray) -> float:
    """Returns the strength of a seed in which the best class leads as far as in a canvas.

    Args:
      canvas: logits, `(h, w, classes)`.

    Returns:
      Half of the lead of the best class over the mean of the others, averaged over the canvas, in
      logits.
    """
    best = canvas.max(-1)
    others = (canvas.sum(-1) - best) / (canvas.shape[-1] - 1)
    return float((best - others).mean() / 2)


def object_classes(source: Source, names: Sequence[str] | None) -> list[int]:
    """Returns the indices of the classes that count as objects.

    Args:
      source: the data.
      names: the names of the classes; None: all classes but one that is called background.

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
