"""Measures reading class maps from canvases, sparsely as the runtime does it, and densely.

    python -m experiments.reading_benchmark exported/voc/anytime.tflite photos --threads 4

Letterboxes images to the file's size and runs the file on them, with one iteration and with as many
as in training. Reads every canvas by `rnnseg.runtime.reading.read_sparsely`, as the runtime does
(one thread), and by the dense `read` of the file (`--threads`). Prints, over all canvases,

- the share of the patches with different classes at their corners;
- milliseconds of both: the median and the largest of the medians of each canvas, which is read
  `--repeats` times;
- the share of the pixels that have the same class in both.
"""

import functools
import statistics

import click
import numpy as np
from tqdm import tqdm

from rnnseg.budgets.timing import take_turns
from rnnseg.cli.base import Command
from rnnseg.data.images import find_images
from rnnseg.errors import UserError
from rnnseg.exporting import examples
from rnnseg.runtime.interpreters import LiteRTStages
from rnnseg.runtime.reading import read_sparsely
from rnnseg.runtime.segmenter import Segmenter

from . import options
from .measuring import border_share


@click.command(cls=Command)
@click.argument("file", metavar="ANYTIME.TFLITE")
@click.argument("images", nargs=-1, required=True)
@click.option("--threads", type=click.IntRange(min=1), default=4, show_default=True,
              help="Threads of the file's read.")  # fmt: skip
@options.repeats(11)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True,
              help="Largest number of images, evenly spread.")  # fmt: skip
def main(file, images, threads, repeats, limit):
    """Print milliseconds of reading, sparsely and densely."""
    segmenter = Segmenter(file, threads)
    info = segmenter.info
    if info.size is None:
        raise UserError(f"{file} is for images of any size: expected one of a fixed size")
    stages = LiteRTStages(file, info, threads)
    borders, sparse_times, dense_times, equal = [], [], [], []
    chosen = examples.from_files(find_images(images), info.size, limit)
    for image in tqdm(chosen, desc="read", unit="image", disable=None):
        for iterations in sorted({1, info.iterations}):
            canvas = segmenter(image.image, iterations=iterations).canvas
            functions = (
                functools.partial(read_sparsely, canvas, info.size, info.canvas_stride),
                functools.partial(stages.read, canvas[np.newaxis], info.size),
            )
            for times, seconds in zip(
                (sparse_times, dense_times), take_turns(functions, repeats), strict=True
            ):
                times.append(1000 * seconds)
            equal.append(np.mean(functions[0]() == functions[1]()))
            borders.append(border_share(canvas))
    size = "x".join(map(str, (*info.size, len(info.classes))))
    print(
        f"{size}, {len(equal)} canvases, {100 * np.mean(borders):.1f} % of the patches on borders"
    )
    for name, times in (("sparsely", sparse_times), (f"densely, {threads} threads", dense_times)):
        print(f"  {name:<20} {statistics.median(times):6.2f} ms, at most {max(times):.2f}")
    print(f"  equal {100 * np.mean(equal):.4f} %")


if __name__ == "__main__":
    main()
