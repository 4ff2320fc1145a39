"""Trainings whose evaluations are kept beside them, so that a second call does what is missing."""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from rnnseg import schemas
from rnnseg.errors import UserError
from rnnseg.evaluation import metrics
from rnnseg.files import atomic_path
from rnnseg.models.options import MODEL_OPTIONS, IterationOptions
from rnnseg.training import config as configuration
from rnnseg.training.runs import Run


class Score(NamedTuple):
    """The score and the cost of a model with one number of iterations.

    Attributes:
      iterations: the number of iterations.
      miou: the mean IoU, 0-1, as usually defined: a class that does not occur counts as zero as
        soon as it is predicted.
      miou_occurring: the mean IoU over the classes that occur in the split, 0-1.
      multiply_adds: the multiply-adds of an image of the most common size.
    """

    iterations: schemas.Iterations
    miou: schemas.Fraction
    miou_occurring: schemas.Fraction
    multiply_adds: schemas.Total


@dataclasses.dataclass(frozen=True)
class _Kept:
    """The schema of a kept evaluation: what it was made from, the images' size, and the scores."""

    made_from: Mapping[str, Any]
    image_size: tuple[schemas.Pixels, schemas.Pixels]
    scores: tuple[Score, ...]


class KeptRun:
    """A training, whose last model is evaluated at several output strides and image scales.

    A finished training is not repeated, and an interrupted one is resumed. Every evaluation is
    kept as a JSON file in the folder `evaluations` of the run. The file names what it was made
    from; it is made anew if that is something else.

    Args:
      config: the configuration of the training.
      folder: the folder of the run.
      iterations: the numbers of iterations of a model that has several; others run one.
    """

    def __init__(
        self,
        config: configuration.TrainingConfig,
        folder: str | os.PathLike,
        iterations: Sequence[int],
    ):
        self._config = config
        self._run = Run(folder)
        iterates = issubclass(MODEL_OPTIONS[config.model], IterationOptions)
        self._iterations = tuple(iterations) if iterates else (1,)
        self._models = {}
        self._is_trained = False

    @property
    def digest(self) -> str | None:
        """The SHA-256 digest of the last model's file; None if there is no such file yet."""
        path = self._run.last
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None

    @functools.cached_property
    def source(self):
        """The data."""
        from rnnseg.data import open_source

        return open_source(self._config.data)

    @functools.cached_property
    def trained(self):
        """The last model; it is trained first if that is not done."""
        from rnnseg.models.loading import load_model
        from rnnseg.training import loop

        if not self._is_trained:
            print(f"\n{self._run.folder}", flush=True)
            loop.train(self._config, self._run.folder, resume=True)
            self._is_trained = True
        return load_model(self._run.last)

    def model(self, output_stride: int):
        """Returns the model at an output stride, with the weights that were trained at its own."""
        if output_stride == self.trained.output_stride:
            return self.trained
        if output_stride not in self._models:
            self._models[output_stride] = self.trained.at_output_stride(output_stride)
        return self._models[output_stride]

    def release(self) -> None:
        """Forgets the models that are in memory."""
        self.__dict__.pop("trained", None)
        self._models.clear()

    def predictions(
        self, output_stride: int, scale: float, size: tuple[int, int]
    ) -> dict[int, Callable]:
        """Returns calls that segment an image, by number of iterations.

        Args:
          output_stride: the output stride of the model.
          scale: the scale of the image.
          size: the (height, width) of the image before it is scaled.
        """
        from rnnseg.evaluation.evaluator import Evaluator, image_of_size

        image = image_of_size(self.source, self._config.val_split, size)
        unroll = Evaluator(self.model(output_stride), self._iterations, (scale,)).unroll
        return {
            number: functools.partial(unroll.predict, image, number) for number in self._iterations
        }

    def scores(self, output_stride: int, scale: float) -> tuple[list[Score], tuple[int, int]]:
        """Evaluates the last model, unless that is kept.

        Args:
          output_stride: the output stride of the model.
          scale: the scale of every image; its class map has the size of the image.

        Returns:
          One score per number of iterations, and the most common (height, width) of the images.
        """
        name = f"stride_{output_stride}_scale_{scale:g}.json"
        path = self._run.folder / "evaluations" / name
        kept = self._read(path, output_stride, scale)
        if kept is None:
            kept = self._evaluate(output_stride, scale)
            with atomic_path(path) as temporary:
                content = vars(kept) | {"scores": [score._asdict() for score in kept.scores]}
                temporary.write_text(json.dumps(content, indent=2) + "\n")
        return list(kept.scores), kept.image_size

    def _evaluate(self, output_stride: int, scale: float) -> _Kept:
        from rnnseg.evaluation.evaluator import Evaluator

        model = self.model(output_stride)
        print(f"\n{self._run.folder}: output stride {output_stride}, scale {scale:g}", flush=True)
        result = Evaluator(model, self._iterations, (scale,))(self.source, self._config.val_split)
        columns = (
            result.iterations,
            map(float, result.miou),
            map(float, metrics.mean_iou_occurring(result.confusion)),
            result.multiply_adds,
        )
        return _Kept(
            self._made_from(output_stride, scale),
            result.image_size,
            tuple(Score(*row) for row in zip(*columns, strict=True)),
        )

    def _made_from(self, output_stride: int, scale: float) -> dict:
        return {
            "config": dataclasses.asdict(self._config),
            "model": self.digest,
            "output_stride": output_stride,
            "scale": scale,
            "iterations": list(self._iterations),
        }

    def _read(self, path: pathlib.Path, output_stride: int, scale: float) -> _Kept | None:
        """Returns the content of a file; None if there is none that was made from the same."""
        if not path.is_file():
            return None
        try:
            kept = schemas.read_json(path, _Kept, "evaluate again")
            # The file of an earlier version lacks the options that were added later.
            config = configuration.TrainingConfig.from_json(kept.made_from.get("config"))
        except (UserError, TypeError):
            return None
        held = kept.made_from | {"config": dataclasses.asdict(config)}
        return kept if held == self._made_from(output_stride, scale) else None
