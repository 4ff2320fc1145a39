"""Measures bulk prediction on Apache Beam beside the plain command.

    python -m experiments.bulk_benchmark runs/mine --images photos

Runs `rnnseg segment`, and the same with `--beam` on one worker and on two, each a process, as whole
commands: once on a number of images and once on twice as many. The difference is the time of the
images, and what is left is the start: Python, TensorFlow, the model, and Beam with its processes.
The commands take turns, `--repeats` times, and medians are printed.

The plain command also draws an overlay of each image, which Beam does not. Workers of one machine
share its cores, and TensorFlow uses all of them in each: two gain where one leaves cores idle.
"""

import itertools
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence

import click
from tqdm import tqdm

from rnnseg.cli.base import Command
from rnnseg.data.images import find_images

from . import options

_WORKERS = (1, 2)
_PLAIN = "plain"


@click.command(cls=Command)
@click.argument("model", metavar="RUN_OR_MODEL")
@click.option("--images", required=True, help="Folder of images, taken again and again.")
@click.option(
    "--count",
    type=click.IntRange(1, 10**6),
    default=256,
    show_default=True,
    help="Number of images; the second measurement has twice as many.",
)
@options.repeats(1)
def main(model, images, count, repeats):
    """Print images per second and the time to start, for the plain command and for Beam."""
    files = find_images([images])
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        copy(files, 2 * count, folder / "images")
        seconds = {name: ([], []) for name in commands()}
        turns = list(itertools.product(range(repeats), commands().items(), (0, 1)))
        for _, (name, arguments), twice in tqdm(turns, unit="command", disable=None):
            part = sorted((folder / "images").iterdir())[: count * (1 + twice)]
            listed = folder / "images.txt"
            listed.write_text("".join(f"{path}\n" for path in part))
            took = measure(model, listed, part, arguments, folder / "out")
            seconds[name][twice].append(took)
    click.echo(report(seconds, count))


def commands() -> dict[str, tuple[str, ...]]:
    """Returns the arguments of every command that is measured, by its name."""
    beam = {
        f"Beam, {number} worker{'s' * (number > 1)}": (
            "--beam",
            f"--direct_num_workers={number} --direct_running_mode=multi_processing",
        )
        for number in _WORKERS
    }
    return {_PLAIN: (), **beam}


def copy(files: Sequence[pathlib.Path], count: int, folder: pathlib.Path) -> None:
    """Makes a number of files out of some, one after the other and again from the first."""
    folder.mkdir()
    for number, file in enumerate(itertools.islice(itertools.cycle(files), count)):
        shutil.copy(file, folder / f"{number:07d}{file.suffix}")


def measure(
    model: str,
    listed: pathlib.Path,
    images: Sequence[pathlib.Path],
    arguments: Sequence[str],
    out: pathlib.Path,
) -> float:
    """Returns the seconds of a whole command.

    Args:
      model: the model.
      listed: a file that lists the images, for Beam.
      images: the images, for the plain command.
      arguments: further arguments.
      out: the folder for the results, which is removed.
    """
    inputs = [str(listed)] if arguments else list(map(str, images))
    command = [sys.executable, "-m", "rnnseg.cli", "segment", model, *inputs, "--out", str(out)]
    start = time.perf_counter()
    subprocess.run([*command, *arguments], check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    written = len(list(out.glob("*_classes.png")))
    if written != len(images):
        raise RuntimeError(f"{written} class maps of {len(images)} images")
    shutil.rmtree(out)
    return seconds


def report(seconds: Mapping[str, tuple[Sequence[float], Sequence[float]]], count: int) -> str:
    """Returns the table.

    Args:
      seconds: the times of every command on `count` images and on twice as many.
      count: the number of images.
    """
    lines = [f"{'command':18s} {'images/s':>9s} {'start s':>8s} {'time per image':>15s}"]
    plain = None
    for name, (once, twice) in seconds.items():
        whole = statistics.median(once)
        each = (statistics.median(twice) - whole) / count
        plain = each if plain is None else plain
        lines.append(
            f"{name:18s} {1 / each:9.2f} {whole - count * each:8.1f} {each / plain:13.2f} x"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
