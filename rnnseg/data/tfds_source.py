"""TFDS data sets with images and index masks, as a `Source`."""

import functools
import itertools
import os
import textwrap
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from rnnseg.data.downloads import check_downloads
from rnnseg.data.selection import TFDS_PREFIX, Selection
from rnnseg.data.source import Shard, Source
from rnnseg.data.stalls import limited_stalls
from rnnseg.data.tables import ADE20K_OBJECTS, CITYSCAPES, OXFORD_IIIT_PET
from rnnseg.data.tfds_layout import Known, Layout
from rnnseg.errors import UserError

_LONGEST_REASON = 600  # characters: enough for TFDS's instructions for manual downloads

_KNOWN = {
    "cityscapes": Known("segmentation_label", CITYSCAPES),
    "oxford_iiit_pet": Known("segmentation_mask", OXFORD_IIIT_PET),
    # Despite its name, this has the masks of the instance segmentation benchmark: red holds the
    # class of an object, green the number of the object.
    "scene_parse150": Known("annotation", ADE20K_OBJECTS),
}


def open_tfds(name: str, selection: Selection) -> Source:
    """Opens a TFDS data set; TFDS first downloads and prepares it if necessary.

    Args:
      name: a name as for `tfds.load`, such as `cityscapes/semantic_segmentation:1.0.0`.
      selection: keys, classes and splits. Keys that are not given are found if there is only one
        candidate. The classes of `cityscapes`, `oxford_iiit_pet` and `scene_parse150` are built in.

    Returns:
      The data set, named as in TFDS.

    Raises:
      UserError: the data set does not exist, cannot be downloaded or prepared, or an error of
        `source_from_builder`.
    """
    where = TFDS_PREFIX + name
    tfds = import_tfds(where)
    try:
        builder = tfds.builder(name)
    except Exception as error:  # TFDS has no common class for errors in a name
        # The lines after the first list all existing names.
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{where}: no such data set ({reason})") from error
    check_downloads(builder, where)
    try:
        with limited_stalls():
            builder.download_and_prepare()
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    except Exception as error:  # nor for errors of downloading and preparing
        raise UserError(
            f"{where}: cannot be prepared in {builder.data_dir} ({_one_line(error)})"
        ) from error
    return source_from_builder(builder, where, builder.name, selection, _KNOWN.get(builder.name))


def import_tfds(where: str) -> Any:
    """Imports the module `tensorflow_datasets`.

    Args:
      where: what the module is needed to read, for the message.

    Raises:
      UserError: the module is not installed.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UserError(
            f"reading {where} needs tensorflow-datasets: pip install rnnseg[data] ({error})"
        ) from error
    return tfds


def source_from_builder(
    builder: Any, where: str, name: str, selection: Selection, known: Known | None = None
) -> Source:
    """Opens the data set that a TFDS builder has prepared.

    Args:
      builder: a `tfds.core.DatasetBuilder`.
      where: the name of the data set in messages.
      name: the name of the data set in reports.
      selection: keys, classes and splits.
      known: facts about the data set, used where `selection` has none.

    Returns:
      The data set. It reads every split in the order of its records.

    Raises:
      UserError: the data set has no images or no masks, several features could be these, the
        classes are not known, a split does not exist, a file of the data set is missing, or
        tensorflow-datasets is not installed.
    """
    _require_files(builder)
    layout = Layout.choose(builder.info.features, where, selection, known)
    splits = selection.splits or {split: split for split in builder.info.splits}
    sizes = {split: _split_size(builder, spec, where) for split, spec in splits.items()}
    classes = layout.classes

    def read(split):
        return examples(splits[split], split)

    def read_shards(split):
        import tensorflow_datasets as tfds

        places, found, before = _shard_places(builder), [], 0
        for each in builder.info.splits[splits[split]].file_instructions:
            own_split, start = places[os.fspath(each.filename)]
            part = tfds.core.ReadInstruction(
                own_split, start + each.skip, start + each.skip + each.take, unit="abs"
            )
            # What is missing is for the reader to count.
            part_read = functools.partial(examples, part, split, before, assert_cardinality=False)
            found.append(Shard(os.fspath(each.filename), each.skip, each.take, part_read))
            before += each.take
        return found

    def examples(spec, split, before=0, **config):
        import tensorflow_datasets as tfds

        found = builder.as_dataset(
            split=spec,
            shuffle_files=False,
            decoders=_only(layout.keys, layout.encoded_keys),
            # TFDS would cache small data sets in memory, as the system's file cache already does.
            read_config=tfds.ReadConfig(try_autocache=False, **config),
        )
        return found.enumerate(before).map(
            lambda number, example: layout.convert(example, split, number),
            num_parallel_calls=tf.data.AUTOTUNE,
        )

    return Source(
        name=name,
        class_names=classes.names,
        class_colors=classes.display_colors,
        split_sizes=sizes,
        read=read,
        has_instances=layout.instances is not None,
        shards=read_shards,
    )


def _shard_places(builder) -> dict[str, tuple[str, int]]:
    """Returns the split of every file, and the number of the records of that split before it."""
    return {
        os.fspath(path): (split.name, start)
        for split in builder.info.splits.values()
        for path, start in zip(
            split.filepaths, itertools.accumulate(split.shard_lengths, initial=0), strict=False
        )
    }


def _only(keys: Sequence[str], encoded_keys: Sequence[str]):
    """Returns decoders with which TFDS parses only `keys`, and leaves `encoded_keys` encoded."""
    import tensorflow_datasets as tfds

    class Only(tfds.decode.PartialDecoding):
        # TFDS's own method compares the types of the features and logs a warning on the way.
        def extract_features(self, features):
            return tfds.features.FeaturesDict({key: features[key] for key in keys})

    decoders = {key: tfds.decode.SkipDecoding() for key in encoded_keys}
    return Only(dict.fromkeys(keys, True), decoders)


def _split_size(builder, spec: str, where: str) -> int:
    try:
        return builder.info.splits[spec].num_examples
    except Exception as error:  # TFDS has no common class for errors of its parser
        raise UserError(
            f"{where}: no split {spec!r}; expected one of {', '.join(builder.info.splits)}, or a "
            "part such as train[:90%]"
        ) from error


def _require_files(builder) -> None:
    """Raises a UserError if a file is missing, which TFDS would only find on reading."""
    for split in builder.info.splits.values():
        try:
            paths = split.filepaths
        except Exception as error:  # TFDS has no common class for errors of its templates
            raise UserError(
                f"{builder.data_dir}: dataset_info.json does not tell the files of split "
                f"{split.name!r} ({_one_line(error)}); remove the folder and build it again"
            ) from error
        for path in paths:
            if not path.exists():
                raise UserError(
                    f"{path}: missing, a part of split {split.name!r}; remove {builder.data_dir} "
                    "and build it again"
                )


def _one_line(error: BaseException) -> str:
    """Returns the message of an error on one line, without any examples and logs after it."""
    return textwrap.shorten(str(error), _LONGEST_REASON, placeholder=" …") or type(error).__name__
