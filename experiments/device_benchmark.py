r"""Latency, size, memory and mIoU of LiteRT files: exported models beside published ones.

    python -m experiments.device_benchmark exported/voc/anytime*.tflite --data data/voc \
        --peer deeplabv3_mnv2_pascal_quant.tflite --peer deeplabv3_257_mv_gpu.tflite

Every file has a fixed image size. A peer is a file of another maker that maps an image, uint8 or
float32 in [-1, 1], to a class map or to logits. Prints

- for each of `--threads`, milliseconds per image of the file's size: of the stages encode, refine
  (one iteration, the mean of several) and read (sparsely, in NumPy), and of whole predictions of 1,
  2, 3, 6 and 12 iterations; a peer and a feed-forward model make one prediction only. All files
  take turns, `--repeats` times; medians are printed. In parentheses stands the ratio of every whole
  prediction to the prediction of the first peer;
- the size of each file, and the peak memory of opening it and of three predictions, beyond the
  memory that the process had before;
- with `--data`, the mIoU over all images of `--split`, of all classes as usually defined and of the
  classes that occur.

Files of the same name are told apart by the folders that they are in.
"""

import functools
import pathlib
import statistics
from collections.abc import Mapping, Sequence

import click
import numpy as np
from tqdm import tqdm

from rnnseg.budgets.timing import take_turns
from rnnseg.cli.base import Command
from rnnseg.errors import UserError
from rnnseg.evaluation import metrics
from rnnseg.runtime.foreign_file import GREY, ForeignFile
from rnnseg.runtime.letterbox import resize_nearest, scale_and_pad
from rnnseg.runtime.segmenter import Segmenter

from . import options
from .measuring import in_a_process, peak_memory
from .runs import choose_examples, open_split, read_examples
from .tables import iteration_titles, markdown_table

ITERATIONS = (1, 2, 3, 6, 12)
STAGES = ("encode", "refine", "read")

Maps = dict[int, np.ndarray]
"""Class maps of an image, `(height, width)`, by number of iterations."""


class Ours:
    """An `anytime.tflite` of a fixed size.

    Args:
      path: the file.
      threads: the number of threads of the operators.
      name: the name in tables; None: that of the file.

    Attributes:
      name: the name in tables.
      numbers: the numbers of iterations that are measured.
      stages: the milliseconds of every stage, one list per stage. Every prediction of `numbers[-1]`
        iterations adds to them.

    Raises:
      UserError: the file is no such file.
    """

    def __init__(self, path: pathlib.Path, threads: int, name: str | None = None):
        self._segmenter = Segmenter(path, threads)
        info = self._segmenter.info
        if info.size is None:
            raise UserError(f"{path} is for images of any size: expected one of a fixed size")
        self.name = name or path.name
        self.numbers = ITERATIONS if info.recurrent else (1,)
        self.stages = {stage: [] for stage in STAGES}
        self._size, self._padding = info.size, info.padding

    def fit(self, image: np.ndarray) -> np.ndarray:
        """Returns an image of any size, uint8 RGB, letterboxed to the file's size."""
        return scale_and_pad(image, self._size, self._padding)[0]

    def predict(self, image: np.ndarray, iterations: int) -> None:
        """Segments an image of the file's size."""
        result = self._segmenter(image, iterations=iterations)
        if iterations == self.numbers[-1]:
            for stage, milliseconds in result.stages.items():
                each = milliseconds / (iterations if stage == "refine" else 1)
                self.stages[stage].append(each)

    def maps(self, image: np.ndarray) -> Maps:
        """Returns the class maps of an image of any size."""
        results = self._segmenter.steps(image, self.numbers[-1])
        return {each.iterations: each.classes for each in results if each.iterations in ITERATIONS}


class Peer:
    """A file of another maker, with one prediction; attributes and methods are those of `Ours`."""

    numbers = (1,)

    def __init__(self, path: pathlib.Path, threads: int, name: str | None = None):
        self._file = ForeignFile(path, threads)
        self.name = name or path.name
        self.stages = {}

    def fit(self, image: np.ndarray) -> np.ndarray:
        """Returns an image of any size, uint8 RGB, letterboxed to the file's size."""
        return scale_and_pad(image, self._file.size, GREY)[0]

    def predict(self, image: np.ndarray, iterations: int = 1) -> np.ndarray:
        """Segments an image of the file's size and returns the class map, `(H, W)`."""
        result = self._file.predict(image)
        return result.argmax(-1) if result.ndim == 3 else result

    def maps(self, image: np.ndarray) -> Maps:
        """Returns the class map of an image of any size, under one iteration."""
        fitted, shown = scale_and_pad(image, self._file.size, GREY)
        classes = self.predict(fitted)[: shown[0], : shown[1]]
        return {1: resize_nearest(classes, image.shape[:2])}


@click.command(cls=Command)
@click.argument("files", nargs=-1, required=True, metavar="ANYTIME.TFLITE...",
                type=click.Path(path_type=pathlib.Path))  # fmt: skip
@click.option("--peer", "peers", multiple=True,
              type=click.Path(exists=True, path_type=pathlib.Path),
              help="A LiteRT file published by others; may be repeated.")  # fmt: skip
@click.option("--data", help="Labelled data, to measure mIoU on.")
@click.option("--split", default="val", show_default=True, help="Split to run on.")
@options.threads((1, 4))
@options.repeats(21)
def main(files, peers, data, split, threads, repeats):
    """Print latency, size, memory and mIoU of exported files, beside published ones."""
    names = file_names((*files, *peers))

    def opened(number):
        kinds = [(Ours, path) for path in files] + [(Peer, path) for path in peers]
        return [kind(path, number, names[path]) for kind, path in kinds]

    opened(1)  # so that a wrong file is reported at once
    source = image = None
    if data is not None:
        source = open_split(data, split)
        image = choose_examples(source, split, [0])[0].image
    for number in threads:
        models = opened(number)
        seconds = measure_times(models, image, repeats)
        first = names[peers[0]] if peers else None
        print(report_times(number, models, seconds, first), flush=True)
    memory = measure_memory(files, peers, max(threads))
    print(report_memory({names[path]: found for path, found in memory.items()}), flush=True)
    if source is not None:
        print(report_miou(measure_miou(opened(max(threads)), source, split)))


def file_names(paths: Sequence[pathlib.Path]) -> dict[pathlib.Path, str]:
    """Returns names of files for tables: as many folders before each as tell all of them apart."""
    different = set(paths)
    for count in range(1, 1 + max(len(path.parts) for path in paths)):
        names = {path: "/".join(path.parts[-count:]) for path in paths}
        if len(set(names.values())) == len(different):
            break
    return names


def measure_times(
    models: Sequence[Ours | Peer], image: np.ndarray | None, repeats: int
) -> dict[tuple[str, int], float]:
    """Measures the latency of all models, which take turns.

    Args:
      models: the opened models; their `stages` are filled.
      image: an image, uint8 RGB, that is letterboxed to the size of each; None: noise.
      repeats: the number of repetitions.

    Returns:
      The seconds of whole predictions, by the model's name and the number of iterations.
    """
    if image is None:
        image = np.random.default_rng(0).integers(0, 256, (513, 513, 3), np.uint8)
    calls = {
        (model.name, number): functools.partial(model.predict, model.fit(image), number)
        for model in models
        for number in model.numbers
    }
    return dict(zip(calls, take_turns(list(calls.values()), repeats), strict=True))


def report_times(
    threads: int,
    models: Sequence[Ours | Peer],
    seconds: Mapping[tuple[str, int], float],
    peer: str | None,
) -> str:
    """Returns the table of `measure_times`.

    Args:
      threads: the number of threads.
      models: the models that were measured.
      seconds: the times from `measure_times`.
      peer: the name of the peer that all whole predictions are compared with, or None.
    """
    title = (
        f"milliseconds, {threads} thread{'s' if threads > 1 else ''}; whole predictions for n "
        f"iterations{f', and the ratio to the time of {peer}' if peer else ''}"
    )
    rows = []
    for model in models:
        stages = [model.stages.get(stage) for stage in STAGES]
        entries = [model.name]
        entries += [f"{statistics.median(each):.1f}" if each else "" for each in stages]
        for number in ITERATIONS:
            whole = seconds.get((model.name, number))
            entry = "" if whole is None else f"{1000 * whole:.1f}"
            if entry and peer:
                entry += f" ({whole / seconds[peer, 1]:.2f})"
            entries.append(entry)
        rows.append(entries)
    table = markdown_table(["file", *STAGES, *iteration_titles(ITERATIONS)], rows)
    return f"{title}\n{table}"


def measure_memory(
    files: Sequence[pathlib.Path], peers: Sequence[pathlib.Path], threads: int
) -> dict[pathlib.Path, tuple[int, int]]:
    """Measures the memory of all files, each in a new process.

    Args:
      files: the exported files.
      peers: the files published by others.
      threads: the number of threads.

    Returns:
      The size of every file and its peak memory, in bytes.
    """
    found = {}
    tasks = [(Ours, path) for path in files] + [(Peer, path) for path in peers]
    for kind, path in tqdm(tasks, desc="memory", unit="file", disable=None):
        memory = in_a_process(_memory, kind, path, threads)
        found[path] = path.stat().st_size, memory
    return found


def _memory(kind, path, threads):
    """Returns the peak memory in bytes of opening a file and of three predictions."""
    image = np.zeros((513, 513, 3), np.uint8)

    def use():
        model = kind(path, threads)
        for _ in range(3):
            model.predict(model.fit(image), model.numbers[-1])

    return peak_memory(use)


def report_memory(found: Mapping[str, tuple[int, int]]) -> str:
    """Returns the table of `measure_memory`."""
    rows = [
        (name, f"{size / 1e6:.2f}", f"{memory / 1e6:.0f}") for name, (size, memory) in found.items()
    ]
    return markdown_table(["file", "its size, MB", "memory, MB"], rows)


def measure_miou(
    models: Sequence[Ours | Peer], source, split: str
) -> dict[tuple[str, int], tuple[float, float]]:
    """Measures the mIoU of all models on all images of a split.

    Args:
      models: the models.
      source: the data.
      split: the split.

    Returns:
      The mIoU of all classes and of the classes that occur, 0-1, by name of the model and number of
      iterations.
    """
    classes = source.num_classes
    confusions = {
        (model.name, number): np.zeros((classes, classes), np.int64)
        for model in models
        for number in model.numbers
    }
    for example in read_examples(source, split):
        for model in models:
            for number, class_map in model.maps(example.image).items():
                confusions[model.name, number] += metrics.confusion_matrix(
                    example.label, class_map, classes
                )
    return {
        key: (float(metrics.mean_iou(confusion)), float(metrics.mean_iou_occurring(confusion)))
        for key, confusion in confusions.items()
    }


def report_miou(scores: Mapping[tuple[str, int], tuple[float, float]]) -> str:
    """Returns the table of `measure_miou`."""
    rows = []
    for name in dict.fromkeys(name for name, _ in scores):
        entries = [name]
        for number in ITERATIONS:
            found = scores.get((name, number))
            entries.append(
                "" if found is None else "{:.2f}, {:.2f}".format(*(100 * np.array(found)))
            )
        rows.append(entries)
    table = markdown_table(["file", *iteration_titles(ITERATIONS)], rows)
    return f"mIoU %, and of the classes that occur\n{table}"


if __name__ == "__main__":
    main()
