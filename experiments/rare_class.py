r"""What class weights and other losses do for a class of few pixels, on drawn shapes.

    python -m experiments.rare_class --out runs/rare_class

Draws the embedded data set, but with `RARE` instead of almost half of its `IMAGES` training images
that show a star, and writes it as records; the images to validate on are those of the data set.
Trains the small model of `rnnseg demo --train` with every one of `CHOICES`, which are options of
`rnnseg train`. Then it prints the mean IoU after the last iteration, and the IoU, the recall and
the precision of the star. The table is also written to `rare_class.csv` in `--out`.

Records and trainings are kept, so that a second call only does what is missing.
"""

import collections
import dataclasses
import itertools
import math
import pathlib
from collections.abc import Iterator, Mapping

import click
import numpy as np
from PIL import Image
from tqdm import tqdm

from rnnseg.cli.base import Command
from rnnseg.data import shapes
from rnnseg.files import atomic_path, check_writable

from . import options
from .folder_records import build_records
from .tables import markdown_table, save_csv

IMAGES, RARE, VALIDATED = 1000, 20, 100
"""The number of training images, of those with a star, and of images to validate on."""

CLASS = "star"
_SPLITS = {"train": 1, "val": 2}  # in the seeds of the embedded data set
_WEIGHT = 20.0

# The options that differ from those of the demo.
CHOICES: Mapping[str, Mapping[str, object]] = {
    "cross-entropy": {},
    "class weights": {"class_weights": "auto"},
    f"weight {_WEIGHT:g} for the class": {"class_weights": "weights.json"},
    "focal loss": {"loss": "focal"},
    "cross-entropy and Dice": {"loss": "cross_entropy_dice"},
    "hardest half of the pixels": {"hard_pixels": 0.5},
    "boundary weight 3": {"boundary_weight": 3.0},
}


@dataclasses.dataclass(frozen=True)
class Row:
    """The scores of one training, in percent, after its last iteration.

    Attributes:
      choice: a name of `CHOICES`.
      miou: the mean IoU.
      iou: the IoU of the rare class.
      recall: the share of its pixels that are found.
      precision: the share of right pixels among those that are found; NaN if there are none.
    """

    choice: str
    miou: float
    iou: float
    recall: float
    precision: float


@click.command(cls=Command)
@click.option(
    "--out", required=True, type=click.Path(path_type=pathlib.Path), help="Folder for all runs."
)
@click.option(
    "--choices",
    metavar="NAME;NAME;...",
    help=f"Losses to train with.  [default: all of {'; '.join(CHOICES)}]",
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Seed.")
def main(out, choices, seed):
    """Train with several losses on drawn shapes, of which one is rare."""
    chosen = options.chosen_names(choices, CHOICES, "--choices", ";")
    check_writable(out / "rare_class.csv")
    data = make_records(out)
    rows = [measure(choice, data, out, seed) for choice in chosen]
    print(f"\n{table(rows)}\n")
    save_csv(out / "rare_class.csv", rows)
    print(f"wrote {out / 'rare_class.csv'}")


def make_records(out: pathlib.Path) -> pathlib.Path:
    """Draws images and labels, builds records of them, and writes the weight of the rare class.

    Args:
      out: the folder of the experiment.

    Returns:
      The folder of the records.
    """
    out.mkdir(parents=True, exist_ok=True)
    for split in _SPLITS:
        for index, image, label in tqdm(drawn(split), split, unit="image", disable=None):
            for kind, values in (("images", image), ("masks", label)):
                path = out / split / kind / f"{index:05d}.png"
                if not path.is_file():
                    with atomic_path(path) as temporary:
                        Image.fromarray(values).save(temporary, "PNG")
    with atomic_path(out / "classes.txt") as temporary:
        temporary.write_text("\n".join(shapes.CLASS_NAMES) + "\n")
    with atomic_path(out / "weights.json") as temporary:
        temporary.write_text(f'{{"{CLASS}": {_WEIGHT:g}}}\n')
    build_records(out, out / "data", out / "classes.txt")
    return out / "data"


def drawn(split: str) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yields number, image and labels of the embedded data set's images that are used.

    Args:
      split: "train", with few images of the rare class, or "val".
    """
    rare = shapes.CLASS_NAMES.index(CLASS)
    most = {True: RARE, False: IMAGES - RARE} if split == "train" else {}
    counts: collections.Counter[bool] = collections.Counter()
    size = IMAGES if split == "train" else VALIDATED
    for index in itertools.count():
        if counts.total() == size:
            return
        image, label = shapes.draw_image((0, _SPLITS[split], index))
        shown = bool((label == rare).any())
        if counts[shown] < most.get(shown, size):
            counts[shown] += 1
            yield index, image, label


def measure(choice: str, data: pathlib.Path, out: pathlib.Path, seed: int) -> Row:
    """Trains with a loss, unless that is done, and scores the last model.

    Args:
      choice: a name of `CHOICES`.
      data: the records.
      out: the folder of the experiment.
      seed: the seed of the training.
    """
    from rnnseg.data import open_source
    from rnnseg.demos.drawn import CONFIG
    from rnnseg.evaluation.evaluator import Evaluator
    from rnnseg.models.loading import load_model
    from rnnseg.training.loop import train

    changes = dict(CHOICES[choice])
    if changes.get("class_weights") == "weights.json":
        changes["class_weights"] = str(out / "weights.json")
    config = dataclasses.replace(CONFIG, data=str(data), seed=seed, **changes)
    folder = out / f"{''.join(each if each.isalnum() else '_' for each in choice)}_seed{seed}"
    print(f"\n{folder}", flush=True)
    model = load_model(train(config, folder, resume=True).last)
    result = Evaluator(model, (config.iterations,))(open_source(str(data)), config.val_split)
    rare = shapes.CLASS_NAMES.index(CLASS)
    confusion = result.confusion[0]
    found = confusion[:, rare].sum()
    return Row(
        choice,
        miou=100 * float(result.miou[0]),
        iou=100 * float(result.class_iou[0][rare]),
        recall=100 * float(confusion[rare, rare] / confusion[rare].sum()),
        precision=100 * float(confusion[rare, rare] / found) if found else float("nan"),
    )


def table(rows: list[Row]) -> str:
    """Returns the table, in Markdown.

    Args:
      rows: one per training.
    """
    titles = ["loss", "mIoU %", f"IoU of {CLASS} %", "recall %", "precision %"]
    scores = [dataclasses.astuple(row)[1:] for row in rows]
    return markdown_table(
        titles,
        [
            [row.choice, *("–" if math.isnan(value) else f"{value:.1f}" for value in values)]
            for row, values in zip(rows, scores, strict=True)
        ],
    )


if __name__ == "__main__":
    main()
