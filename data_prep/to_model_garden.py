"""The command `rnnseg prepare to_model_garden`: any data set as records of Model Garden."""

import contextlib
import csv
import io
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import click
from PIL import Image
from tqdm import tqdm

from rnnseg import schemas
from rnnseg.cli.base import Command
from rnnseg.data import Source, absolute_data, open_source
from rnnseg.data.images import decode_image, encode_png
from rnnseg.data.metadata import is_plain, split_metadata
from rnnseg.errors import UserError
from rnnseg.files import atomic_folder

from .run import PATH

# The arguments that a folder was written with, by which a second run knows that it is complete. The
# file has had this name since the command was called to_garden.
_ORIGIN_FILE = "to_garden.json"
_CLASS_FILE = "classes.csv"
_ELSEWHERE = "choose another --out, or remove it first"
_FORMATS = {"JPEG": "jpeg", "PNG": "png"}
# The number that readers decode to, regardless of the file.
_CHANNELS = 3
_MEGABYTE = 1_000_000


@click.command(
    cls=Command,
    epilog="""\b
    Example:
      rnnseg prepare to_model_garden --data data/voc --out model_garden/voc
    """,
)
@click.option(
    "--data",
    required=True,
    metavar="DATA",
    help="Data set to write, as for rnnseg train --data.",
)
@click.option("--out", required=True, type=PATH, metavar="DIR", help="New folder for the files.")
@click.option(
    "--shard-size",
    type=click.IntRange(1),
    metavar="MB",
    help="Size of a file in megabytes; default: 200.",
)
@click.option("--shards", type=click.IntRange(1), metavar="N", help="Number of files per split.")
def main(data: str, out: pathlib.Path, shard_size: int | None, shards: int | None) -> None:
    """Write any data set as records that Model Garden and DeepLab read.

    Images and labels are copied byte for byte, apart from images that readers would not all decode
    alike, such as transparent ones: these become RGB. The classes are listed in classes.csv beside
    the records, so rnnseg also takes the folder as --data.
    """
    if shard_size is not None and shards is not None:
        raise UserError("--shard-size and --shards: expected one of them")
    # Silences TensorFlow; errors are exceptions anyway.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    source = open_source(data)
    size = None if shards else (shard_size or 200) * _MEGABYTE
    written = write_model_garden(source, absolute_data(data), out, size, shards)
    click.echo(f"{'Wrote' if written else 'Already written, nothing to do:'} {out}")
    for split, images in source.split_sizes.items():
        click.echo(f"  {split}: {images} images")


def write_model_garden(
    source: Source,
    data: str,
    out: pathlib.Path,
    shard_bytes: int | None = None,
    shards: int | None = None,
) -> bool:
    """Writes all splits of a data set unless they are written already.

    `out` never holds only a part of the files: they are written into a folder beside it, which is
    renamed at the end.

    Args:
      source: the data set.
      data: the name of the data set, as `open_source` takes it.
      out: the folder to write, which must be new or empty.
      shard_bytes: the size of a file in bytes; None to use `shards`.
      shards: the number of files per split, or of its images if these are fewer; None to use
        `shard_bytes`.

    Returns:
      True if the files were written, False if they existed already.

    Raises:
      UserError: `out` holds something else or cannot be written, the data cannot be read, or an
        image and its label differ in size.
    """
    origin = {
        "data": data,
        "class_names": list(source.class_names),
        "class_colors": [list(color) for color in source.class_colors],
        "images": dict(source.split_sizes),
        "shard_bytes": shard_bytes,
        "shards": shards,
    }
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        _require_same(out, origin)
        return False
    if not any(source.split_sizes.values()):
        raise UserError(f"{source.name}: no images, expected a split with some")
    with _writing(out) as folder:
        for split in source.split_sizes:
            if source.split_sizes[split]:
                _write_split(source, split, folder, shard_bytes, shards)
        with (folder / _CLASS_FILE).open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["name", "r", "g", "b"])
            rows.writerows(
                [name, *color]
                for name, color in zip(source.class_names, source.class_colors, strict=True)
            )
        (folder / _ORIGIN_FILE).write_text(json.dumps(origin, indent=1) + "\n")
    return True


def _require_same(out: pathlib.Path, origin: Mapping[str, Any]) -> None:
    """Raises a UserError unless `out` was written with the same arguments."""
    if not (out / _ORIGIN_FILE).is_file():
        raise UserError(f"{out}: holds something else already; {_ELSEWHERE}")
    found = schemas.read_json(out / _ORIGIN_FILE, Mapping[str, Any], _ELSEWHERE)
    different = [key for key, value in origin.items() if found.get(key) != value]
    if different:
        raise UserError(
            f"{out}: holds records with other {different[0].replace('_', ' ')} already; "
            f"{_ELSEWHERE}"
        )


@contextlib.contextmanager
def _writing(out: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields an `atomic_folder` and turns TensorFlow's errors of writing into a UserError."""
    import tensorflow as tf

    try:
        with atomic_folder(out) as folder:
            yield folder
    except tf.errors.OpError as error:
        raise UserError(f"{out}: cannot be written ({error.message})") from error


def _write_split(
    source: Source,
    split: str,
    folder: pathlib.Path,
    shard_bytes: int | None,
    shards: int | None,
) -> None:
    import tensorflow as tf

    images = source.split_sizes[split]
    files, writer, written = [], None, 0
    examples = _read_split(source, split)
    bar = tqdm(examples, total=images, desc=f"write {split}", unit="image", disable=None)
    with contextlib.ExitStack() as open_file:
        for number, example in enumerate(bar):
            record = _make_record(example, f"{source.name}, split {split!r}")
            if shard_bytes is None:
                full = number * min(shards, images) // images >= len(files)
            else:
                full = not files or written + len(record) > shard_bytes
            if full:
                open_file.close()
                # The number of files is part of the names, but known only at the end.
                files.append(folder / f"{split}-{len(files):05d}")
                writer = open_file.enter_context(tf.io.TFRecordWriter(str(files[-1])))
                written = 0
            writer.write(record)
            written += len(record)
    for file in files:
        file.rename(f"{file}-of-{len(files):05d}.tfrecord")


def _read_split(source: Source, split: str) -> Iterator[Mapping[str, bytes]]:
    import tensorflow as tf

    examples = source.read(split).as_numpy_iterator()
    try:
        yield from examples
    except tf.errors.OpError as error:
        raise UserError(
            f"{source.name}, split {split!r}: cannot be read ({error.message})"
        ) from error


def _make_record(example: Mapping[str, bytes], where: str) -> bytes:
    """Makes a serialized `tf.train.Example`.

    Raises:
      UserError: the image or the label is not a usable JPEG or PNG file, or their sizes differ.
    """
    import tensorflow as tf

    from rnnseg.data.model_garden import IMAGE_KEY, LABEL_KEY, NAME_KEY

    name, image = example["name"].decode(), example["image"]
    if not is_plain(image):
        # Other readers would see other colours, such as those behind transparent pixels.
        image = encode_png(decode_image(image, f"{where}, {name}"))
    image_format, size = _read_header(image, f"{where}, {name}")
    label_format, label_size = _read_header(example["label"], f"{where}, label of {name}")
    if size != label_size:
        raise UserError(
            f"{where}, {name}: image of {size[1]}x{size[0]} and label of "
            f"{label_size[1]}x{label_size[0]} pixels; expected the same size"
        )
    texts = {
        IMAGE_KEY: image,
        "image/format": image_format.encode(),
        # With an ending, which readers remove, names with dots are restored unchanged.
        NAME_KEY: f"{name}.{'jpg' if image_format == 'jpeg' else image_format}".encode(),
        LABEL_KEY: example["label"],
        "image/segmentation/class/format": label_format.encode(),
    }
    numbers = {"image/width": size[0], "image/height": size[1], "image/channels": _CHANNELS}
    features = {
        key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        for key, value in texts.items()
    } | {
        key: tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        for key, value in numbers.items()
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def _read_header(data: bytes, where: str) -> tuple[str, tuple[int, int]]:
    """Returns the format, as named in the records, and the (width, height) of an image file."""
    try:
        with Image.open(io.BytesIO(split_metadata(data)[0])) as image:
            return _FORMATS[image.format], image.size
    except (OSError, KeyError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{where}: not a usable JPEG or PNG file ({error})") from error


if __name__ == "__main__":
    main()
