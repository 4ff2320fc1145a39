"""Measures the throughput of training images: ours, Model Garden's, and decoding alone.

    python -m experiments.pipeline_benchmark --voc data/voc --cityscapes data/cityscapes

Prints images per second, the median of several repeats in which the candidates take turns, of

- decoding alone: every image and label of the split `train` as a whole, by `decode`;
- ours: the batches of a training, by `training_batches`, with random scales of 0.5 to 2.0 and
  mirroring;
- Model Garden: `segmentation_input.Decoder` and `Parser` with the same crop, scales and mirroring,
  in the order of its own input reader: map, map, batch, prefetch. As in its own configurations,
  images of VOC are fitted to the crop before the random scaling, and images of Cityscapes are
  cropped at their full size.

Then prints the share of its time that a training waits for data: MobileNetV2 and a small stack,
trained with our pipeline.

All three read the same encoded bytes from memory (Model Garden's as `tf.train.Example`), in
parallel as tf.data chooses, keep the order, and are consumed without Python in between. Only ours
shuffles.
"""

import dataclasses
import io
import json
import math
import os
import pathlib
import statistics
import time
from collections.abc import Callable, Mapping

import click
import numpy as np
from tqdm import tqdm

from rnnseg.cli.base import Command
from rnnseg.errors import UserError
from rnnseg.files import atomic_path

from . import options

_SPLIT = "train"
_FIRST_STEPS = 2  # steps of a training in which TensorFlow builds and warms up


@dataclasses.dataclass(frozen=True)
class Case:
    """The measurement of one data set.

    Attributes:
      crop: the side of the crops, in pixels.
      images: the number of images per turn, a multiple of `batch`; a smaller split is repeated.
      batch: the number of images per batch.
      steps: the number of steps of the training.
      model_garden: the sizes for `segmentation_input.Parser`.
    """

    crop: int
    images: int
    batch: int
    steps: int
    model_garden: Mapping[str, list[int]]


CASES = {
    "voc": Case(513, 800, batch=8, steps=6, model_garden={"output_size": [513, 513]}),
    "cityscapes": Case(
        769,
        96,
        batch=4,
        steps=4,
        model_garden={"output_size": [1024, 2048], "crop_size": [769, 769]},
    ),
}


@click.command(cls=Command)
@click.option("--voc", metavar="DIR", help="PASCAL VOC, built by rnnseg prepare.")
@click.option("--cityscapes", metavar="DIR", help="Cityscapes, built by rnnseg prepare.")
@options.repeats(5)
@click.option(
    "--json", "file", type=click.Path(path_type=pathlib.Path), help="JSON file for all numbers."
)
def main(voc, cityscapes, repeats, file):
    """Print images per second of the input pipeline, and how long training waits for it."""
    folders = {"voc": voc, "cityscapes": cityscapes}
    folders = {name: folder for name, folder in folders.items() if folder}
    if not folders:
        raise UserError("nothing to measure: give --voc DIR or --cityscapes DIR, or both")
    _import_model_garden()
    from rnnseg.data import open_source

    sources = {name: open_source(folder) for name, folder in folders.items()}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"{cores} cores, median (lowest to highest) of {repeats} repeats\n")
    results = {}
    for name, source in sources.items():
        results[name] = measure(source, CASES[name], repeats)
        print(report(name, CASES[name], results[name]), flush=True)
    if file:
        with atomic_path(file) as path:
            content = {"cores": cores, "repeats": repeats, "results": results}
            path.write_text(json.dumps(content, indent=2) + "\n")


def measure(source, case: Case, repeats: int) -> dict:
    """Measures all candidates and a training on one data set.

    Args:
      source: a `rnnseg.data.source.Source`.
      case: the settings.
      repeats: the number of turns of every candidate.

    Returns:
      `images_per_second`: for each candidate a list of `repeats` numbers; `training`: the seconds
      that every step waited for its batch, `wait`, and computed, `compute`.

    Raises:
      UserError: no images in the split `train`, or tf-models-official is not installed.
    """
    size = min(source.require_split(_SPLIT), case.images)
    examples = list(source.read(_SPLIT).take(size).as_numpy_iterator())
    candidates = {
        "decoding alone": _timed(_decoded(examples, case)),
        "ours": _timed(_ours(source, examples, case, epochs=1)),
        "Model Garden": _timed(_model_garden(examples, case)),
    }
    speeds = {name: [] for name in candidates}
    # The first turn of each candidate is not counted: TensorFlow warms up in it.
    turns = [name for _ in range(repeats + 1) for name in candidates]
    for turn, name in enumerate(tqdm(turns, desc="measure", leave=False, disable=None)):
        seconds = candidates[name]()
        if turn >= len(candidates):
            speeds[name].append(case.images / seconds)
    return {"images_per_second": speeds, "training": _training(source, examples, case)}


def report(name: str, case: Case, result: Mapping) -> str:
    """Returns the report of one data set."""
    speeds = result["images_per_second"]
    lines = [f"{name}, crops of {case.crop}x{case.crop}"]
    for candidate, values in speeds.items():
        lines.append(
            f"  {candidate:24s}{statistics.median(values):8.1f} images per second "
            f"({min(values):.1f} to {max(values):.1f})"
        )
    for other in ("Model Garden", "decoding alone"):
        # Ratios of single turns, so that a load that slows the machine for a while slows both.
        ratios = [ours / its for ours, its in zip(speeds["ours"], speeds[other], strict=True)]
        lines.append(f"  {'ours / ' + other:24s}{statistics.median(ratios):8.2f}")
    wait, compute = (sum(result["training"][key]) for key in ("wait", "compute"))
    trained = len(result["training"]["wait"]) * case.batch / (wait + compute)
    lines.append(
        f"  {'training waits':24s}{100 * wait / (wait + compute):8.2f} % of its time (batches of "
        f"{case.batch}, {trained:.2f} images per second)\n"
    )
    return "\n".join(lines)


def _import_model_garden():
    try:
        from official.vision.dataloaders import segmentation_input
    except ImportError as error:
        raise UserError(
            f"the comparison needs tf-models-official: pip install rnnseg[model-garden] ({error})"
        ) from error
    return segmentation_input


def _repeated(examples, case):
    """Returns a data set of `case.images` elements, held in memory."""
    import tensorflow as tf

    rounds = math.ceil(case.images / len(examples))
    if isinstance(examples[0], Mapping):
        examples = {key: [example[key] for example in examples] for key in examples[0]}
    return tf.data.Dataset.from_tensor_slices(examples).repeat(rounds).take(case.images)


def _decoded(examples, case):
    import tensorflow as tf

    from rnnseg.data.pipeline import decode

    parallel = tf.data.AUTOTUNE
    return _repeated(examples, case).map(decode, num_parallel_calls=parallel).prefetch(parallel)


def _ours(source, examples, case, epochs):
    from rnnseg.data.pipeline import Augmentation, training_batches

    held = _repeated(examples, case)
    memory = dataclasses.replace(source, split_sizes={_SPLIT: case.images}, read=lambda split: held)
    augmentation = Augmentation((case.crop, case.crop), scale=(0.5, 2.0), flip=True)
    return training_batches(memory, _SPLIT, case.batch, augmentation, epochs)[0]


def _model_garden(examples, case):
    import tensorflow as tf

    segmentation_input = _import_model_garden()
    parser = segmentation_input.Parser(
        **case.model_garden, aug_scale_min=0.5, aug_scale_max=2.0, aug_rand_hflip=True
    )
    parallel = tf.data.AUTOTUNE
    return (
        _repeated([_model_garden_record(example) for example in examples], case)
        .map(segmentation_input.Decoder().decode, num_parallel_calls=parallel)
        .map(parser.parse_fn(is_training=True), num_parallel_calls=parallel)
        .batch(case.batch, drop_remainder=True)
        .prefetch(parallel)
    )


def _model_garden_record(example):
    import tensorflow as tf
    from PIL import Image

    width, height = Image.open(io.BytesIO(example["label"])).size
    values = {
        "image/encoded": example["image"],
        "image/segmentation/class/encoded": example["label"],
        "image/height": height,
        "image/width": width,
    }
    features = {
        key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        if isinstance(value, bytes)
        else tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        for key, value in values.items()
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def _timed(dataset) -> Callable[[], float]:
    """Returns a function that runs through a data set and returns the seconds it took."""

    def run():
        start = time.perf_counter()
        dataset.reduce(np.int64(0), lambda count, *_: count + 1).numpy()
        return time.perf_counter() - start

    return run


def _training(source, examples, case) -> dict[str, list[float]]:
    import keras

    from rnnseg import RecurrentSegmenter
    from rnnseg.training.losses import SegmentationLoss

    model = RecurrentSegmenter(
        num_classes=source.num_classes,
        encoder="mobilenet_v2",
        encoder_weights=None,
        hidden_channels=(128, 64),
        freeze_batch_norm=True,
    )
    model.compile(optimizer=keras.optimizers.SGD(0.001), loss=SegmentationLoss())
    times = {"wait": [], "compute": []}
    steps = _FIRST_STEPS + case.steps
    batches = iter(_ours(source, examples, case, epochs=steps))
    for step in tqdm(range(steps), desc="train", leave=False, disable=None):
        start = time.perf_counter()
        images, labels = next(batches)
        ready = time.perf_counter()
        model.train_on_batch(images, labels)
        end = time.perf_counter()
        if step >= _FIRST_STEPS:
            times["wait"].append(ready - start)
            times["compute"].append(end - ready)
    return times


if __name__ == "__main__":
    main()
