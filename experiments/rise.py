"""Measures by how much mIoU rises with the iterations, with error bars.

    python -m experiments.rise runs/camvid --data data/camvid --block 10
    python -m experiments.rise runs/voc --data data/voc

Prints the difference of mIoU (over the classes that occur) between numbers of iterations: from one
to the number in training, from there to twice this number, and for every single step. Each has its
95 % interval under a paired bootstrap, which draws the images anew with replacement. If
neighbouring images of a split look alike, as the frames of a clip do, `--block` draws runs of
images together. A difference whose interval contains 0 may be an accident of the images. The
interval does not cover differences between trainings.

The paper's curve rises all the way, and goes on past the six iterations of training.

Results: on CamVid mIoU rises at every step to the ninth iteration, well past the sixth, and not by
accident of the images; with context beside the features it rises to the fifth and falls slowly from
the seventh. On a subset of VOC the rise of the first steps may be an accident of the images, the
fall after the seventh is not (`docs/experiments/iterations.md`).
"""

import dataclasses
from collections.abc import Iterable, Sequence

import click
import numpy as np

from rnnseg.cli.base import Command
from rnnseg.evaluation import metrics

from . import options
from .runs import load_recurrent_model, open_split, read_examples
from .tables import markdown_table

_DRAWS = 2000


@dataclasses.dataclass(frozen=True)
class Difference:
    """The difference of mIoU between two numbers of iterations.

    Attributes:
      first: the first number of iterations.
      second: the second number of iterations.
      points: the mIoU at the second minus the mIoU at the first, in percent.
      low: the 2.5th percentile of the draws.
      high: the 97.5th percentile of the draws.
    """

    first: int
    second: int
    points: float
    low: float
    high: float


@click.command(cls=Command)
@options.model_and_data
@click.option("--block", type=click.IntRange(min=1), default=1, show_default=True,
              help="Number of images in a row that are drawn together.")  # fmt: skip
def main(model, data, split, block):
    """Print by how much mIoU rises from iteration to iteration, with error bars."""
    segmenter = load_recurrent_model(model)
    trained = segmenter.iterations
    source = open_split(data, split, segmenter)
    confusions = image_confusions(segmenter, source, split, 2 * trained)
    pairs = [(1, trained), (trained, 2 * trained)] if trained > 1 else []
    pairs += [(n, n + 1) for n in range(1, 2 * trained)]
    print(table(differences(confusions, dict.fromkeys(pairs), block), trained))


def image_confusions(model, source, split: str, iterations: int) -> np.ndarray:
    """Returns the confusion matrix of every image, `(images, iterations, classes, classes)`."""
    from rnnseg.evaluation.unrolling import Unroller

    unroll = Unroller(model)
    numbers = range(1, iterations + 1)
    return np.stack(
        [
            [
                metrics.confusion_matrix(example.label, class_map, source.num_classes)
                for class_map in unroll(example.image, numbers)
            ]
            for example in read_examples(source, split)
        ]
    )


def differences(
    confusions: np.ndarray, pairs: Iterable[tuple[int, int]], block: int = 1, seed: int = 0
) -> list[Difference]:
    """Computes differences of mIoU and their intervals under a paired bootstrap.

    Args:
      confusions: `(images, iterations, classes, classes)`.
      pairs: pairs of numbers of iterations, from 1.
      block: the number of images in a row that are drawn together.
      seed: the seed of the draws, which are the same for all pairs.
    """
    starts = np.arange(0, len(confusions), block)
    sums = np.add.reduceat(confusions, starts)
    rng = np.random.default_rng(seed)
    # The number of times that each block is drawn.
    weights = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), _DRAWS)
    drawn = 100 * np.stack(
        [metrics.mean_iou_occurring(np.tensordot(weight, sums, 1)) for weight in weights]
    )
    whole = 100 * metrics.mean_iou_occurring(sums.sum(axis=0))
    result = []
    for first, second in pairs:
        low, high = np.percentile(drawn[:, second - 1] - drawn[:, first - 1], (2.5, 97.5))
        points = whole[second - 1] - whole[first - 1]
        result.append(Difference(first, second, float(points), float(low), float(high)))
    return result


def table(found: Sequence[Difference], trained: int) -> str:
    """Returns all differences as a Markdown table; `trained` is the number in training."""
    rows = [
        (
            f"{each.first} to {each.second}",
            f"{each.points:+.2f}",
            f"{each.low:+.2f} to {each.high:+.2f}",
            "rises" if each.low > 0 else "falls" if each.high < 0 else "open",
        )
        for each in found
    ]
    title = f"mIoU of the classes that occur; trained with {trained} iterations"
    return f"{title}\n\n{markdown_table(['iterations', 'points', '95 % of the draws', ''], rows)}"


if __name__ == "__main__":
    main()
