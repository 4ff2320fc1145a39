"""Records built by `rnnseg prepare`, as a `Source`."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Annotated, Any

from annotated_types import MaxLen, MinLen

from rnnseg import schemas
from rnnseg.data.classes import ClassTable
from rnnseg.data.selection import Selection
from rnnseg.data.source import Source
from rnnseg.data.tables import CITYSCAPES
from rnnseg.errors import UserError, first_line, shortened

# A build lies in OUT/name/version, or OUT/name/config/version.
_LEVELS = 3
# The features to train on. Records may hold others beside them.
_IMAGE_KEY, _LABEL_KEY = "image", "label"
_FILES = ("dataset_info.json", "features.json", "metadata.json")
_WAY_OUT = "build the data set again"
# The feature that the builder of Cityscapes adds for the official scores.
_INSTANCES_KEY = "instance_ids"


@dataclasses.dataclass(frozen=True)
class _Metadata:
    """The schema of what `rnnseg prepare` stores with the records and is read back."""

    class_names: Annotated[tuple[schemas.Text, ...], MinLen(2), MaxLen(255)]
    class_colors: tuple[schemas.Color, ...]
    full_sizes: Mapping[str, schemas.Total] = dataclasses.field(default_factory=dict)


def open_records(folder: str | os.PathLike, selection: Selection | None = None) -> Source:
    """Opens the data set that TFDS built in or below a folder.

    Args:
      folder: the `--out` of `rnnseg prepare`, or the folder of the version below it.
      selection: a label, classes or splits that replace those of the build.

    Returns:
      The data set, named after the `--out` folder. It reads every split in the order of its
      records, without decoding images and labels.

    Raises:
      UserError: there is no finished data set or more than one, it is damaged or not a segmentation
        data set, `selection` does not fit it, or tensorflow-datasets is not installed.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected the --out of rnnseg prepare")
    builds = find_builds(folder)
    if len(builds) > 1:
        listed = ", ".join(str(build) for build in builds)
        raise UserError(f"{folder} holds several data sets, give one of them: {listed}")
    if not builds:
        unfinished = unfinished_builds(folder)
        if unfinished:
            raise UserError(f"{unfinished[0]}: unfinished; run the same command again")
        raise UserError(
            f"{folder}: no data set there; build one with rnnseg prepare folder (or voc)"
        )
    # This import loads TensorFlow, which is not needed to look for builds.
    from rnnseg.data.tfds_source import source_from_builder

    builder = load_build(builds[0])
    name = builds[0].resolve().parents[2 if builder.info.config_name else 1].name
    return source_from_builder(
        builder, str(folder), name, _complete(selection or Selection(), builder)
    )


def _complete(selection: Selection, builder) -> Selection:
    """Adds the keys of the build, and its classes unless another label or classes are selected."""
    classes = selection.classes
    if classes is None and selection.label in (None, _LABEL_KEY):
        held = _check_metadata(builder)
        classes = ClassTable(
            names=held.class_names,
            colors=held.class_colors,
            values={index: index for index in range(len(held.class_names))},
            color_values=None,
        )
    scored = classes is not None and classes.names == CITYSCAPES.names
    return dataclasses.replace(
        selection,
        instances=_INSTANCES_KEY if scored and _INSTANCES_KEY in builder.info.features else None,
        image=selection.image or _IMAGE_KEY,
        label=selection.label or _LABEL_KEY,
        classes=classes,
    )


def load_build(folder: pathlib.Path) -> Any:
    """Returns the `tfds.core.DatasetBuilder` of a finished build.

    Args:
      folder: the folder of the build, from `find_builds`.

    Raises:
      UserError: the build is damaged or not a segmentation data set, or tensorflow-datasets is not
        installed.
    """
    from rnnseg.data.tfds_source import import_tfds

    tfds = import_tfds(str(folder))
    for path in (folder / name for name in _FILES):
        if path.exists():  # or else TFDS tells; it would not name one that is damaged
            schemas.read_json(path, Mapping[str, Any], _WAY_OUT)
    try:
        builder = tfds.builder_from_directory(folder)
        metadata = builder.info.metadata or {}
        named = "class_names" in metadata and "class_colors" in metadata
    except Exception as error:  # TFDS has no common class for errors of damaged files
        reason = shortened(first_line(error), 200)
        raise UserError(f"{folder}: damaged ({reason}); remove it and build it again") from error
    if not named:
        raise UserError(
            f"{folder}: no class names in its metadata; expected a data set built by rnnseg prepare"
        )
    _check_metadata(builder)
    return builder


def _check_metadata(builder) -> _Metadata:
    """Returns what the file `metadata.json` of a build holds.

    Raises:
      UserError: it is damaged.
    """
    where = f"{builder.data_dir}/metadata.json"
    held = schemas.check(dict(builder.info.metadata), _Metadata, where, _WAY_OUT)
    if len(held.class_colors) != len(held.class_names):
        raise UserError(
            f"{where}: {len(held.class_colors)} class_colors for {len(held.class_names)} "
            f"class_names, expected one per class; {_WAY_OUT}"
        )
    return held


def find_builds(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the folders of all finished data sets in or below `folder`, sorted by name."""
    folders = [path.parent for path in _find(folder, "dataset_info.json")]
    return [path for path in folders if not _unfinished(path)]


def unfinished_builds(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the folders that TFDS left below `folder` when it was killed."""
    return _find(folder, "incomplete.*")


def _find(folder, name):
    return sorted(path for level in range(_LEVELS + 1) for path in folder.glob("*/" * level + name))


def _unfinished(path: pathlib.Path) -> bool:
    """Returns True if TFDS was still writing this folder: `incomplete.<id>_<version>`."""
    return path.name.startswith("incomplete.")
