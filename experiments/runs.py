"""Trained models and the data that they are measured on, for the commands of experiments."""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from tqdm import tqdm

from rnnseg.errors import UserError


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluated:
    """A model that was evaluated.

    Attributes:
      kind: the kind of the model, a name of `rnnseg.models.registry.MODELS`.
      result: its `rnnseg.evaluation.Evaluation`.
    """

    kind: str
    result: "rnnseg.evaluation.Evaluation"  # noqa: F821 - TensorFlow is not loaded here


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """An image and its ground truth.

    Attributes:
      name: the name of the image.
      image: RGB, uint8 `(h, w, 3)`.
      label: class indices or `IGNORE_LABEL`, uint8 `(h, w)`; None if there is no ground truth.
    """

    name: str
    image: np.ndarray
    label: np.ndarray | None = None


def run_names(models: Sequence[str]) -> list[str]:
    """Returns the names of models in tables.

    Args:
      models: folders of runs, or `.keras` files.

    Returns:
      The names of the runs; where two of them are the same, the whole paths of all models.
    """
    names = []
    for model in map(pathlib.Path, models):
        file_of_run = model.name in ("last.keras", "best.keras")
        names.append(model.resolve().parent.name if file_of_run else model.stem)
    return names if len(set(names)) == len(names) else list(models)


def load_recurrent_model(path: str):
    """Loads a model that can run any number of iterations.

    Args:
      path: the folder of a run, or a `.keras` file.

    Raises:
      UserError: no model, or a feed-forward one.
    """
    from rnnseg.models.loading import load_model

    model = load_model(path)
    if not model.recurrent:
        raise UserError(f"{path} is feed-forward: expected a recurrent model")
    return model


def open_split(data: str, split: str, model=None):
    """Opens a data set.

    Args:
      data: what `rnnseg.data.open_source` takes.
      split: the split that is going to be read.
      model: a model that the data have to fit; None: any data will do.

    Returns:
      The `rnnseg.data.source.Source`.

    Raises:
      UserError: the data cannot be read, they have no such split or an empty one, or other classes
        than the model.
    """
    from rnnseg.data import open_source
    from rnnseg.evaluation.evaluator import check_classes

    source = open_source(data)
    source.require_split(split)
    if model is not None:
        check_classes(model, source)
    return source


def read_examples(source, split: str) -> Iterator[Example]:
    """Yields the examples of a split, in a fixed order, behind a progress bar.

    Args:
      source: the data.
      split: the split.

    Raises:
      UserError: no such split, or an empty one.
    """
    from rnnseg.data.pipeline import evaluation_images

    count = source.require_split(split)
    examples = evaluation_images(source, split).as_numpy_iterator()
    for image, label, name in tqdm(examples, split, count, unit="image", disable=None):
        yield Example(name.decode(), image, label)


def choose_examples(source, split: str, numbers: Sequence[int]) -> list[Example]:
    """Returns the examples that `--image` names.

    Args:
      source: the data.
      split: the split.
      numbers: the numbers of the examples in the split, from 0.

    Raises:
      UserError: no such split, or a number beyond its end.
    """
    from rnnseg.data.pipeline import evaluation_images

    count = source.require_split(split)
    if max(numbers, default=0) >= count:
        raise UserError(f"--image {max(numbers)}: expected 0 to {count - 1}, the images of {split}")
    examples = evaluation_images(source, split)
    chosen = []
    for number in numbers:
        ((image, label, name),) = examples.skip(number).take(1).as_numpy_iterator()
        chosen.append(Example(name.decode(), image, label))
    return chosen


def recipe_options(recipe: str, data: str, weights: str | None) -> dict[str, object]:
    """Returns the options of a training from the options `--recipe`, `--data` and `--weights`.

    Args:
      recipe: the name of a recipe, or a Python file.
      data: the data to train on.
      weights: the weights that the encoder starts from; None: those of the recipe.

    Raises:
      UserError: no such recipe.
    """
    from rnnseg.training.config import load_recipe

    changed = {} if weights is None else {"encoder_weights": weights}
    return load_recipe(recipe) | {"data": data} | changed


def evaluate_all(
    models: Sequence[str],
    data: str,
    split: str,
    iterations: Sequence[int],
    class_names: Sequence[str],
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
) -> Mapping[str, Evaluated]:
    """Evaluates models on one split.

    Args:
      models: folders of runs, or `.keras` files.
      data: what `rnnseg.data.open_source` takes.
      split: the split.
      iterations: the numbers of iterations of recurrent models; feed-forward models run one.
      class_names: the classes that the data must have.
      scales: the scales at which every image is segmented; the logits of all scales are averaged.
      flip: True to average over mirrored images as well.

    Returns:
      One evaluation per model, by the name of the model, in the order of `models`.

    Raises:
      UserError: a model or the data cannot be used, or has other classes.
    """
    from rnnseg.evaluation.evaluator import Evaluator
    from rnnseg.models.loading import load_model
    from rnnseg.models.registry import kind_of

    source = open_split(data, split)
    require_classes(source.name, source.class_names, class_names)
    results = {}
    for name, model in zip(run_names(models), map(load_model, models), strict=True):
        numbers = iterations if model.recurrent else (1,)
        print(name, flush=True)
        result = Evaluator(model, numbers, scales, flip)(source, split)
        results[name] = Evaluated(kind_of(model), result)
    return results


def require_classes(owner: str, found: Sequence[str], expected: Sequence[str]) -> None:
    """Checks that a model or a data set has the classes of a published benchmark.

    Args:
      owner: the name of the model or the data set, for the message.
      found: its classes.
      expected: the classes of the benchmark.

    Raises:
      UserError: the classes are not the same.
    """
    if tuple(found) != tuple(expected):
        raise UserError(
            f"{owner} has the {len(found)} classes {', '.join(found[:3])}, …; expected the "
            f"{len(expected)} of the benchmark, {', '.join(expected[:3])}, …"
        )
