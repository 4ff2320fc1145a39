"""Trained models by the names of their runs, and their evaluations, for tables of several."""

import pathlib
from collections.abc import Mapping, Sequence

from rnnseg.errors import UserError


def run_names(models: Sequence[str]) -> list[str]:
    """Returns the names of models in tables: those of their runs, or whole paths if two agree.

    Args:
      models: folders of runs, or `.keras` files.
    """
    names = []
    for model in map(pathlib.Path, models):
        file_of_run = model.name in ("last.keras", "best.keras")
        names.append(model.resolve().parent.name if file_of_run else model.stem)
    return names if len(set(names)) == len(names) else list(models)


def evaluate_all(
    models: Sequence[str],
    data: str,
    split: str,
    iterations: Sequence[int],
    class_names: Sequence[str],
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
) -> Mapping[str, "rnnseg.evaluation.Evaluation"]:  # noqa: F821 - TensorFlow is not loaded here
    """Evaluates models on one split.

    Args:
      models: folders of runs, or `.keras` files.
      data: what `rnnseg.data.open_source` takes.
      split: its split.
      iterations: numbers of them, for recurrent models; feed-forward ones have one alone.
      class_names: that the data must have.
      scales: at which every image is segmented; the logits of all are averaged.
      flip: whether it is segmented mirrored at each of them, too.

    Returns:
      The evaluations by the models' names, in their order.

    Raises:
      UserError: a model or the data cannot be used, or has other classes.
    """
    from rnnseg.data import open_source
    from rnnseg.evaluation.evaluator import Evaluator
    from rnnseg.models.loading import load_model

    source = open_source(data)
    source.require_split(split)
    require_classes(source.name, source.class_names, class_names)
    results = {}
    for name, model in zip(run_names(models), map(load_model, models), strict=True):
        numbers = iterations if model.recurrent else (1,)
        print(name, flush=True)
        results[name] = Evaluator(model, numbers, scales, flip)(source, split)
    return results


def require_classes(owner: str, found: Sequence[str], expected: Sequence[str]) -> None:
    """Makes sure that a model or a data set has the classes of a published benchmark.

    Args:
      owner: what it is called.
      found: its classes.
      expected: those of the benchmark.

    Raises:
      UserError: they are others.
    """
    if tuple(found) != tuple(expected):
        raise UserError(
            f"{owner} has the {len(found)} classes {', '.join(found[:3])}, …; expected the "
            f"{len(expected)} of the benchmark, {', '.join(expected[:3])}, …"
        )
