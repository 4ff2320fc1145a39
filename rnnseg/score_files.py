"""The schema of the scores that `rnnseg evaluate` writes, in files and for TensorBoard."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

from annotated_types import Ge, Le, MinLen

from rnnseg import schemas


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """The scores and costs at one number of iterations.

    Attributes:
      iterations: the number of iterations.
      miou: the mean IoU, 0-1.
      multiply_adds: of one image; None if they are not known, as of some LiteRT files.
      milliseconds: per image.
      scale: the scale of the images; None in files of earlier versions.
      class_iou: the IoU by the names of the classes, 0-1, None for a class that never occurs.
    """

    iterations: schemas.Iterations
    miou: schemas.Fraction
    multiply_adds: Annotated[float, Ge(0), Le(1e18)] | None
    milliseconds: schemas.Milliseconds
    scale: schemas.Scale | None = None
    class_iou: Mapping[str, schemas.Fraction | None] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationContent:
    """What `rnnseg.evaluation.evaluator.Evaluation.to_json` returns.

    Attributes:
      data: the name of the data.
      split: the split of the data.
      images: the number of images.
      image_size: the most common (height, width), in pixels.
      scales: the scales over which the logits were averaged.
      flip: True if they were averaged over mirrored images, too.
      results: one row per number of iterations and scale.
    """

    data: schemas.Text
    split: schemas.Text
    images: schemas.Count
    image_size: tuple[schemas.Pixels, schemas.Pixels]
    scales: Annotated[tuple[schemas.Scale, ...], MinLen(1)]
    flip: bool
    results: Annotated[tuple[ScoreRow, ...], MinLen(1)]

    @property
    def multi_scale(self) -> bool:
        """True if the logits were averaged over scales or mirrored images."""
        return len(self.scales) > 1 or self.flip


def present_names(content: Mapping[str, Any]) -> dict[str, Any]:
    """Renames the keys of a file of an earlier version, which called an image a picture."""
    return {key.replace("picture", "image"): value for key, value in content.items()}
