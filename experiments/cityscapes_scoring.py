"""Speed and agreement of Cityscapes' scores with cityscapesscripts.

The Python version of cityscapesscripts, as `pip install` installs it, is compared. Predictions are
made from the ground truth: it is shifted and coarsened, and some classes are exchanged.
cityscapesscripts reads all images from files, which is also timed alone. Ours takes images in
memory, as evaluation has them.
"""

import contextlib
import io
import json
import math
import pathlib
import tempfile
import unittest.mock
from collections.abc import Sequence

import numpy as np
from PIL import Image

from rnnseg.budgets.timing import take_turns
from rnnseg.data.tables import CITYSCAPES
from rnnseg.errors import UserError
from rnnseg.evaluation import cityscapes, metrics

# Label ids by class index, and class indices by label id.
IDS = np.array(
    sorted(
        (value for value, label in CITYSCAPES.values.items() if label < len(CITYSCAPES.names)),
        key=CITYSCAPES.values.get,
    ),
    np.uint8,
)
LABELS = np.zeros(256, np.uint8)
LABELS[list(CITYSCAPES.values)] = list(CITYSCAPES.values.values())

# The names in cityscapesscripts of the scores of `CityscapesScores`, and of their mean.
_PARTS = {
    "class_iou": ("classScores", "averageScoreClasses"),
    "class_iiou": ("classInstScores", "averageScoreInstClasses"),
    "category_iou": ("categoryScores", "averageScoreCategories"),
    "category_iiou": ("categoryInstScores", "averageScoreInstCategories"),
}


def measure_scoring(truth: pathlib.Path, repeats: int) -> tuple[int, list[float], bool]:
    """Measures the time of Cityscapes' scores, beside cityscapesscripts.

    Args:
      truth: folder with images `…_labelIds.png` and `…_instanceIds.png`, also in its subfolders.
      repeats: the number of repetitions.

    Returns:
      The number of images; the seconds for all of them, by our code, by cityscapesscripts, and for
      reading its files alone; True if all scores agree to the last digit.

    Raises:
      UserError: the folder has no label images, or cityscapesscripts is not installed.
    """
    labels = sorted(truth.rglob("*_labelIds.png"))
    if not labels:
        raise UserError(f"{truth}: no *_labelIds.png there; expected Cityscapes' gtFine")
    with tempfile.TemporaryDirectory() as folder:
        files, images = [], []
        for number, label in enumerate(labels):
            prediction = pathlib.Path(folder, f"{number}.png")
            instances = label.with_name(label.name.replace("labelIds", "instanceIds"))
            label_ids = _load(label)
            predicted_ids = perturb(label_ids, number)
            Image.fromarray(predicted_ids).save(prediction)
            files.append((prediction, label, instances))
            images.append((LABELS[predicted_ids], LABELS[label_ids], _load(instances)))
        own, official = own_scores(images), official_scores(files)
        functions = [
            lambda: own_scores(images),
            lambda: official_scores(files),
            lambda: [_load(path) for each in files for path in each],
        ]
        return len(files), take_turns(functions, repeats), agree(own, official)


def report_scoring(images: int, seconds: Sequence[float], agreeing: bool) -> str:
    """Returns the text of the results of `measure_scoring`."""
    own, official, files = (1e3 * each / images for each in seconds)
    return (
        f"Cityscapes' scores of {images} images: ours {own:.1f} ms per image, "
        f"cityscapesscripts {official:.1f} ms and {official - files:.1f} ms without reading files, "
        f"ratio {(official - files) / own:.2f}\n"
        f"all scores {'agree' if agreeing else 'DO NOT AGREE'} to the last digit"
    )


def perturb(label_ids: np.ndarray, seed: int) -> np.ndarray:
    """Makes a prediction, in label ids, from the ground truth."""
    generator = np.random.default_rng(seed)
    height, width = label_ids.shape
    # Ids that are no class get one, by their number.
    predicted = np.where(LABELS < len(IDS), LABELS, np.arange(256) % len(IDS))[label_ids]
    predicted = np.roll(predicted, generator.integers(-9, 10, 2), (0, 1))
    predicted = predicted[::5, ::5].repeat(5, 0).repeat(5, 1)[:height, :width]
    for number in generator.integers(0, len(IDS), 4):
        predicted[predicted == number] = generator.integers(0, len(IDS))
    return IDS[predicted]


def own_scores(images) -> cityscapes.CityscapesScores:
    """Computes our scores.

    Args:
      images: (prediction, labels, instance ids) of every image; the first two in class indices.
    """
    classes = len(IDS)
    confusion, sums = np.zeros((classes, classes), np.int64), cityscapes.InstanceSums()
    for prediction, labels, instance_ids in images:
        confusion += metrics.confusion_matrix(labels, prediction, classes)
        sums.add(cityscapes.Instances(instance_ids), prediction)
    return sums.scores(confusion)


def official_scores(files) -> dict:
    """Computes the scores by cityscapesscripts.

    Args:
      files: the paths of (prediction, labels, instance ids) of every image; the first two in label
        ids.

    Returns:
      The content of the JSON file that cityscapesscripts writes.

    Raises:
      UserError: cityscapesscripts is not installed.
    """
    try:
        from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as scripts  # noqa: N813
    except ImportError as error:
        raise UserError(
            f"the official scores need cityscapesscripts: pip install rnnseg[data] ({error})"
        ) from error
    with (
        tempfile.TemporaryDirectory() as folder,
        # cityscapesscripts calls `np.in1d`, which NumPy 2.4 removed.
        unittest.mock.patch.object(np, "in1d", np.isin, create=True),
        unittest.mock.patch.multiple(scripts.args, exportFile=f"{folder}/all.json", quiet=True),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        predictions, labels = ([str(each[index]) for each in files] for index in (0, 1))
        scripts.evaluateImgLists(predictions, labels, scripts.args)
        return json.loads(pathlib.Path(folder, "all.json").read_text())


def agree(own: cityscapes.CityscapesScores, official: dict) -> bool:
    """Returns True if both have a number for the same scores, and all of these are equal."""
    pairs = []
    for name, (part, mean) in _PARTS.items():
        pairs.append((getattr(own, name), official[part]))
        pairs.append(({"mean": own.means[name]}, {"mean": official[mean]}))
    return all(_numbers(mine) == _numbers(theirs) for mine, theirs in pairs)


def _numbers(scores) -> dict[str, float]:
    return {name: value for name, value in scores.items() if not math.isnan(value)}


def _load(path: pathlib.Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)
