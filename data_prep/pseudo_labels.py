"""The command `rnnseg prepare pseudo_labels`: labels images with a model, the teacher."""

import json
import os
import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import click
import numpy as np
from PIL import Image
from tqdm import tqdm

from rnnseg import schemas
from rnnseg.cli.base import Command
from rnnseg.cli.parameters import Numbers
from rnnseg.data.class_files import read_classes
from rnnseg.data.images import IMAGE_ENDINGS, is_hidden, read_image
from rnnseg.data.source import IGNORE_LABEL
from rnnseg.errors import UserError
from rnnseg.files import atomic_path
from rnnseg.inference.teachers import Teacher
from rnnseg.locks import hold_folder
from rnnseg.palette import default_colors
from rnnseg.visualize import class_map_image

from .run import PATH
from .views import agreed, view_sizes

CLASSES, SETTINGS = "classes.txt", "pseudo_labels.json"
"""The files beside the labels: the table of classes, and what the labels were made with."""


@click.command(
    cls=Command,
    epilog="""\b
    Example:
      rnnseg prepare pseudo_labels --teacher deeplabv3.tflite --classes voc_classes.txt \\
        --images unlabelled --out labels
      rnnseg prepare folder --images unlabelled --masks labels --classes labels/classes.txt \\
        --ignore 255 --split val=0.1 --out data/unlabelled
    """,
)
@click.option(
    "--teacher",
    "path",
    required=True,
    type=PATH,
    metavar="MODEL",
    help="Segmentation model: a .tflite or .keras file or a SavedModel, of rnnseg or another "
    "maker, or the folder of a run.",
)
@click.option(
    "--images",
    required=True,
    type=PATH,
    metavar="DIR",
    help="Folder of the images, also in folders below it.",
)
@click.option(
    "--classes",
    type=PATH,
    metavar="FILE",
    help="Classes of a teacher of another maker, in the order of its labels, in a file as for "
    "rnnseg prepare folder.",
)
@click.option(
    "--input-range",
    type=Numbers("BLACK,WHITE", float, ",", 2),
    help="Values for black and white that a teacher of another maker expects if it takes floats, "
    "such as -1,1.",
)
@click.option(
    "--scales",
    type=Numbers("S,S,...", float, ",", least=0.1, most=4),
    default="0.75,1,1.25",
    show_default=True,
    help="Scales at which every image is looked at.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Threads of a LiteRT teacher; default: one per core.",
)
@click.option("--out", required=True, type=PATH, metavar="DIR", help="Folder for the labels.")
def main(path, images, classes, input_range, scales, threads, out) -> None:
    """Label images with a model.

    The teacher sees every image at several scales, and mirrored at each of them. Where two of these
    views differ in a pixel, the label is 255, which stands for no class. Labels are palette PNGs of
    the names of the images, which `rnnseg prepare folder` takes as masks. Repeat an interrupted
    command to go on where it stopped.
    """
    label_files(images, out)  # so that mistakes show before the teacher is loaded
    table = read_classes(classes) if classes is not None else None
    teacher = Teacher(path, input_range, threads)
    names, colors = _classes(teacher, table, classes)
    click.echo(label_images(teacher, images, out, scales, names, colors))
    given = shlex.quote(str(images)), shlex.quote(str(out)), shlex.quote(str(out / CLASSES))
    click.echo(
        "next: rnnseg prepare folder --images {} --masks {} --classes {} --ignore 255 "
        "--split val=0.1 --out data/NAME".format(*given)
    )


def label_images(
    teacher: Teacher,
    images: pathlib.Path,
    out: pathlib.Path,
    scales: Sequence[float],
    names: Sequence[str],
    colors: Sequence[Sequence[int]],
) -> str:
    """Labels all images below a folder, except for those that have their labels already.

    Args:
      teacher: the model.
      images: the folder of the images.
      out: the folder for the labels, with `CLASSES` and `SETTINGS` beside them.
      scales: the scales at which every image is looked at.
      names: one name per class of the teacher.
      colors: one (red, green, blue) of 0-255 per class.

    Returns:
      A sentence with the shares of the classes.

    Raises:
      UserError: no images, labels that were made otherwise, or images that have no label; then all
        others are labelled.
    """
    files = label_files(images, out)
    counts = np.zeros(IGNORE_LABEL + 1, np.int64)
    failures = []
    with hold_folder(out):
        _write_settings(out, teacher, names, colors, scales)
        for file, mask in tqdm(files.items(), desc="label", unit="image", disable=None):
            try:
                counts += _label(file, mask, teacher, scales, len(names), colors)
            except UserError as error:
                failures.append(str(error))
    report = _report(names, counts, len(files) - len(failures), out)
    if failures:
        more = f"; and {len(failures) - 1} more" if len(failures) > 1 else ""
        click.echo(report)
        raise UserError(
            f"{len(failures)} of {len(files)} images have no label: {failures[0]}{more}"
        )
    return report


def label_files(images: pathlib.Path, out: pathlib.Path) -> dict[pathlib.Path, pathlib.Path]:
    """Returns the file for the labels of every image below a folder.

    Args:
      images: the folder of the images.
      out: the folder for the labels.

    Raises:
      UserError: no images, images among the labels, or two that would have one label.
    """
    if not images.is_dir():
        raise UserError(f"{images}: no such folder; expected the folder of the images")
    found = {}
    owners = {}
    for file in sorted(images.rglob("*")):
        within = file.relative_to(images)
        if file.suffix.lower() not in IMAGE_ENDINGS or any(map(is_hidden, within.parts)):
            continue
        if out.resolve() in pathlib.Path(os.path.realpath(file)).parents:
            raise UserError(f"{out} holds images to label, such as {file}: choose another --out")
        mask = out / within.with_suffix(".png")
        if mask in owners:
            raise UserError(
                f"{owners[mask]} and {file} differ in their endings alone, and would have one "
                "label: rename one of them"
            )
        found[file], owners[mask] = mask, file
    if not found:
        raise UserError(f"{images}: no image found; expected {', '.join(IMAGE_ENDINGS)}")
    return found


def _classes(teacher: Teacher, table, file):
    """Returns the names and the colours of the teacher's classes."""
    if teacher.names is not None:
        if table is not None and tuple(table.names) != tuple(teacher.names):
            raise UserError(
                f"{file}: the classes differ from those of {teacher.path}, which has its own; "
                "leave --classes out"
            )
        return tuple(teacher.names), tuple(teacher.colors)
    if table is None:
        raise UserError(
            f"{teacher.path} does not tell the names of its classes: give them by --classes FILE, "
            "one per line"
        )
    return table.names, table.colors or default_colors(len(table.names))


def _write_settings(out, teacher, names, colors, scales) -> None:
    """Writes what the labels are made with, or checks that earlier ones were made with the same."""
    settings = {
        "teacher": teacher.name,
        "sha256": teacher.checksum,
        "classes": list(names),
        "scales": list(scales),
    }
    path = out / SETTINGS
    if path.is_file():
        earlier = schemas.read_json(path, Mapping[str, Any], "choose another --out")
        if earlier != settings:
            raise UserError(
                f"{out} holds labels of another teacher, or with other classes or scales, as "
                f"{SETTINGS} says: choose another --out, or delete the folder"
            )
    elif any(not is_hidden(path.name) for path in out.iterdir()):
        raise UserError(f"{out} is not empty: choose a new folder for the labels")
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(settings, indent=1) + "\n")
    rows = zip(names, colors, strict=True)
    lines = [f"{name} {' '.join(map(str, color))}\n" for name, color in rows]
    with atomic_path(out / CLASSES) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def _label(
    file: pathlib.Path,
    mask: pathlib.Path,
    teacher: Teacher,
    scales: Sequence[float],
    num_classes: int,
    colors,
) -> np.ndarray:
    """Writes the labels of an image unless they are there, and returns their histogram."""
    if mask.is_file():
        with Image.open(mask) as image:
            return np.bincount(np.asarray(image).ravel(), minlength=IGNORE_LABEL + 1)
    image = read_image(file)
    labels = agreed(teacher, image, view_sizes(image.shape[:2], scales, teacher.size))
    wrong = labels[(labels != IGNORE_LABEL) & ((labels < 0) | (labels >= num_classes))]
    if wrong.size:
        raise UserError(
            f"{file}: the teacher gives it the class {wrong[0]}, beyond the {num_classes} names: "
            "expected all names of its classes in --classes"
        )
    with atomic_path(mask) as temporary:
        class_map_image(labels.astype(np.uint8), colors).save(temporary)
    return np.bincount(labels.ravel(), minlength=IGNORE_LABEL + 1)


def _report(names: Sequence[str], counts: np.ndarray, number: int, out: pathlib.Path) -> str:
    """Returns the shares of the classes, from the most frequent one."""
    shares = 100 * counts / max(1, counts.sum())
    order = sorted(range(len(names)), key=lambda label: -shares[label])
    found = [f"{names[label]} {shares[label]:.1f} %" for label in order if counts[label]]
    return (
        f"labelled {number} images in {out}: {', '.join(found)}; views differ on "
        f"{shares[IGNORE_LABEL]:.1f} %"
    )


if __name__ == "__main__":
    main()
