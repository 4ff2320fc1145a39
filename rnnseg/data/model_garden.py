"""Records of DeepLab and of TensorFlow's Model Garden, as a `Source`."""

import collections
import functools
import os
import pathlib
import re
from collections.abc import Mapping, Sequence

import tensorflow as tf
from tqdm import tqdm

from rnnseg.data.class_files import read_classes
from rnnseg.data.classes import ClassTable
from rnnseg.data.convert import encode_labels, image_name, is_identity, lookup_table
from rnnseg.data.images import is_hidden
from rnnseg.data.selection import Selection
from rnnseg.data.source import Shard, Source
from rnnseg.data.tfds_source import import_tfds
from rnnseg.errors import UserError

IMAGE_KEY = "image/encoded"
LABEL_KEY = "image/segmentation/class/encoded"
NAME_KEY = "image/filename"

CLASS_FILES = ("classes.csv", "classes.json", "classes.txt")
"""The accepted names of the list of classes beside the records."""

_SHARD = re.compile(r"(?P<split>.+)-(?P<number>\d{5,})-of-(?P<count>\d{5,})\.tfrecord")
# Bytes around a record: before it its length and the checksum of that, after it its own checksum.
_HEADER, _FOOTER = 12, 4
_LENGTH = 8
# Records per file with which no file is empty by chance.
_MANY_RECORDS = 20
# Offsets in a PNG file of the bits per channel and of the colour type, which is 0 for grey.
_PNG_SIGNATURE, _PNG_BITS, _PNG_COLOR_TYPE = b"\x89PNG\r\n\x1a\n", 24, 25


def has_model_garden_records(folder: str | os.PathLike) -> bool:
    """Returns True if a file in `folder` is named like a file of such records."""
    folder = pathlib.Path(folder)
    return folder.is_dir() and any(_find_shard(path) for path in folder.iterdir())


def open_model_garden(folder: str | os.PathLike, selection: Selection) -> Source:
    """Opens the records in a folder as they are.

    The files are called `<split>-<number>-of-<count>.tfrecord`, with numbers of five digits. Their
    records hold `image/encoded`, `image/segmentation/class/encoded` and, optionally,
    `image/filename`. Masks are 8-bit grey PNGs.

    Args:
      folder: the folder of the files, with the list of classes beside them: `classes.txt`, `.csv`
        or `.json`.
      selection: keys, classes and splits that replace those of the records.

    Returns:
      The data set, named after the folder. It reads every split in the order of its files and of
      the records in them.

    Raises:
      UserError: a file is missing, damaged or holds other records, the classes are not listed, or
        a split does not exist.
    """
    folder = pathlib.Path(folder)
    classes = selection.classes or _read_class_file(folder)
    image_key, label_key = selection.image or IMAGE_KEY, selection.label or LABEL_KEY
    shards = find_shards(folder)
    counts = _count_all(shards)
    sizes = {split: sum(each) for split, each in counts.items()}
    for split, files in shards.items():
        _check_none_is_emptied(files, counts[split])
        if sizes[split]:
            _check_first_record(files, image_key, label_key)
    parts = {split: [(split, 0, size)] for split, size in sizes.items()}
    if selection.splits is not None:
        parts = {
            split: _find_parts(spec, sizes, folder) for split, spec in selection.splits.items()
        }
    table = None if is_identity(classes) else lookup_table(classes, str(folder))

    def read(split):
        records = None
        for own_split, start, end in parts[split]:
            files = tf.data.TFRecordDataset([str(file) for file in shards[own_split]])
            part = files.skip(start).take(end - start)
            records = part if records is None else records.concatenate(part)
        return parsed(split, records)

    def read_shards(split):
        found, before = [], 0
        for own_split, start, end in parts[split]:
            position = 0
            for file, count in zip(shards[own_split], counts[own_split], strict=True):
                first, last = max(start - position, 0), min(end - position, count)
                position += count
                if first < last:
                    part = functools.partial(read_part, split, str(file), first, last, before)
                    found.append(Shard(str(file), first, last - first, part))
                    before += last - first
        return found

    def read_part(split, file, first, last, before):
        records = tf.data.TFRecordDataset(file).skip(first).take(last - first)
        return parsed(split, records, before)

    def parsed(split, records, before=0):
        return records.enumerate(before).map(
            lambda number, record: parse(split, number, record),
            num_parallel_calls=tf.data.AUTOTUNE,
        )

    def parse(split, number, record):
        values = tf.io.parse_single_example(
            record,
            {
                image_key: tf.io.FixedLenFeature([], tf.string),
                label_key: tf.io.FixedLenFeature([], tf.string),
                NAME_KEY: tf.io.FixedLenFeature([], tf.string, default_value=""),
            },
        )
        label = values[label_key]
        if table is not None:
            label = encode_labels(tf.io.decode_png(label, channels=1), table)
        return {
            "image": values[image_key],
            "label": label,
            "name": image_name(values[NAME_KEY], split, number),
        }

    return Source(
        name=folder.resolve().name,
        class_names=classes.names,
        class_colors=classes.display_colors,
        split_sizes={
            split: sum(end - start for _, start, end in part) for split, part in parts.items()
        },
        read=read,
        shards=read_shards,
    )


def find_shards(folder: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    """Returns the files of every split, in the order of their numbers.

    Raises:
      UserError: files of a split are missing, or their names give different counts.
    """
    found: dict[str, dict[tuple[int, int], pathlib.Path]] = collections.defaultdict(dict)
    for path in sorted(folder.iterdir()):
        match = _find_shard(path)
        if match:
            found[match["split"]][int(match["count"]), int(match["number"])] = path
    shards = {}
    for split, files in found.items():
        counts = sorted({count for count, _ in files})
        if len(counts) > 1:
            listed = " and ".join(f"*-of-{count:05d}" for count in counts)
            raise UserError(
                f"{folder}: split {split!r} has files {listed}; expected one of these sets, remove "
                "the others"
            )
        names = (f"{split}-{number:05d}-of-{counts[0]:05d}.tfrecord" for number in range(counts[0]))
        missing = [name for name in names if not (folder / name).exists()]
        if missing:
            raise UserError(
                f"{folder}: {len(missing)} of {counts[0]} files of split {split!r} are missing: "
                + ", ".join(missing[:3])
                + (" …" if len(missing) > 3 else "")
            )
        shards[split] = [files[key] for key in sorted(files)]
    return shards


def _find_shard(path: pathlib.Path) -> re.Match | None:
    return None if is_hidden(path.name) else _SHARD.fullmatch(path.name)


def count_records(path: pathlib.Path) -> int:
    """Counts the records of a TFRecord file from their lengths alone.

    Raises:
      UserError: the lengths of the records do not add up to the length of the file.
    """
    end = path.stat().st_size
    count = position = 0
    with path.open("rb", buffering=0) as file:  # a buffer would be refilled after every seek
        while position < end:
            file.seek(position)
            length = int.from_bytes(file.read(_HEADER)[:_LENGTH], "little")
            position += _HEADER + length + _FOOTER
            if position > end:
                raise UserError(
                    f"{path}: damaged, record {count} extends past the end of the file; copy or "
                    "write it again"
                )
            count += 1
    return count


def _count_all(shards: Mapping[str, list[pathlib.Path]]) -> dict[str, list[int]]:
    total = sum(len(files) for files in shards.values())
    # The bar shows only if counting takes longer than a second.
    with tqdm(total=total, desc="count", unit="file", delay=1, leave=False, disable=None) as bar:
        counts: dict[str, list[int]] = {}
        for split, files in shards.items():
            counts[split] = []
            for file in files:
                counts[split].append(count_records(file))
                bar.update()
    return counts


def _check_none_is_emptied(files: Sequence[pathlib.Path], counts: Sequence[int]) -> None:
    """Raises a UserError for an empty file that must have held records.

    Writers fill the first files first. Those that choose the file of a record by chance leave none
    empty if there are many records.
    """
    if sum(counts) < _MANY_RECORDS * len(files):
        return
    for number, file in enumerate(files):
        if not counts[number] and any(counts[number:]):
            raise UserError(
                f"{file}: empty, though files after it hold records; copy or write it again"
            )


def _check_first_record(files: list[pathlib.Path], image_key: str, label_key: str) -> None:
    """Raises a UserError unless the first record of these files holds a labelled image."""
    file = next(file for file in files if file.stat().st_size)
    try:
        record = next(tf.data.TFRecordDataset(str(file)).take(1).as_numpy_iterator())
        values = tf.train.Example.FromString(record).features.feature
    except Exception as error:  # protobuf has no public class for its errors
        raise UserError(f"{file}: damaged, its first record cannot be read ({error})") from error
    for key in (image_key, label_key):
        if not values[key].bytes_list.value:
            raise UserError(
                f"{file}: no {key} in its first record, which holds {', '.join(sorted(values))}"
            )
    label = values[label_key].bytes_list.value[0]
    if (
        not label.startswith(_PNG_SIGNATURE)
        or label[_PNG_BITS : _PNG_BITS + 1] != b"\x08"
        or label[_PNG_COLOR_TYPE : _PNG_COLOR_TYPE + 1] != b"\x00"
    ):
        raise UserError(
            f"{file}: the first mask is not an 8-bit grey PNG; expected one whose values are the "
            "class indices, without a palette"
        )


def _read_class_file(folder: pathlib.Path) -> ClassTable:
    found = [folder / name for name in CLASS_FILES if (folder / name).exists()]
    if not found:
        raise UserError(
            f"{folder}: the records do not name their classes; write {folder / 'classes.txt'}, "
            "with one class per line in the order of the labels"
        )
    if len(found) > 1:
        raise UserError(f"{' and '.join(map(str, found))}: expected one of them, remove the others")
    return read_classes(found[0])


def _find_parts(
    spec: str, sizes: Mapping[str, int], folder: pathlib.Path
) -> list[tuple[str, int, int]]:
    """Returns the parts of a split, as (original split, first record, record after the last)."""
    tfds = import_tfds(f"splits of {folder}")
    infos = {
        split: tfds.core.SplitInfo(name=split, shard_lengths=[size], num_bytes=0)
        for split, size in sizes.items()
    }
    try:
        parts = tfds.core.ReadInstruction.from_spec(spec).to_absolute(infos)
    except Exception as error:  # TFDS has no common class for errors of its parser
        raise UserError(
            f"{folder}: no split {spec!r}, expected parts of {', '.join(sizes)}, such as "
            f"{next(iter(sizes))}[:90%]"
        ) from error
    return [
        (part.splitname, part.from_ or 0, sizes[part.splitname] if part.to is None else part.to)
        for part in parts
    ]
