"""JSON files that name a data set and the keys, classes and splits to read from it."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Annotated, Any

from annotated_types import MinLen

from rnnseg import schemas
from rnnseg.data.class_files import read_classes
from rnnseg.data.classes import ClassTable, table_from_rows
from rnnseg.data.selection import TFDS_PREFIX, Selection
from rnnseg.data.tables import TABLES
from rnnseg.errors import UserError

_WAY_OUT = (
    'expected {"data": …}, with image, label, classes and splits as in the guide on data sets'
)


@dataclasses.dataclass(frozen=True)
class _Description:
    """The schema of a description; what may be left out must not be null."""

    data: schemas.Text
    image: schemas.Text = None
    label: schemas.Text = None
    classes: Any = None  # `rnnseg.data.classes` reads them
    splits: Annotated[Mapping[schemas.Text, schemas.Text], MinLen(1)] = None


def read_description(path: pathlib.Path) -> tuple[str, Selection]:
    r"""Reads a file such as this one, in which only `data` is required.

        {"data": "tfds:oxford_iiit_pet",
         "image": "image",
         "label": "segmentation_mask",
         "classes": [{"name": "pet", "index": 1}, {"name": "background", "index": 2},
                     {"name": "ignore", "index": 3}],
         "splits": {"train": "train[:90%]", "val": "train[90%:]"}}

    `data` is anything that `rnnseg.data.open_source` takes except "shapes" and another description
    file. `image` and `label` are keys of the records. `classes` is a list of names or of rows as in
    `rnnseg.data.classes.table_from_rows`, the path of a file with these, or the name of a table in
    `rnnseg.data.tables`. `splits` maps names to parts of the data set's own splits, in the notation
    of TFDS. Paths are relative to the folder of the description file.

    Args:
      path: the description file.

    Returns:
      The data set, as `rnnseg.data.open_source` takes it, and the selection from it.

    Raises:
      UserError: the file cannot be read, or it holds another key or an invalid value.
    """
    where = str(path)
    content = schemas.parse_json(schemas.read_text(path, _WAY_OUT), where, _WAY_OUT)
    if not isinstance(content, dict) or "data" not in content:
        raise UserError(f"{path}: does not describe a data set; {_WAY_OUT}")
    keys = [field.name for field in dataclasses.fields(_Description)]
    unknown = [key for key in content if key not in keys]
    if unknown:
        raise UserError(f"{path}: unknown key {unknown[0]!r}, expected {', '.join(keys)}")
    held = schemas.check(content, _Description, where, _WAY_OUT)
    selection = Selection(
        image=held.image,
        label=held.label,
        classes=_read_table(content["classes"], path) if "classes" in content else None,
        splits=held.splits,
    )
    return _find_data(held.data, path), selection


def _find_data(data: str, path: pathlib.Path) -> str:
    if data.startswith(TFDS_PREFIX):
        return data
    folder = path.parent / data
    if not folder.is_dir():
        raise UserError(f"{path}: data is {data!r}, expected a folder or {TFDS_PREFIX}NAME")
    return str(folder)


def _read_table(classes: Any, path: pathlib.Path) -> ClassTable:
    if isinstance(classes, str):
        if classes in TABLES:
            return TABLES[classes]
        file = path.parent / classes
        if not file.is_file():
            raise UserError(
                f"{path}: classes is {classes!r}, expected a file, a list, or one of "
                f"{', '.join(TABLES)}"
            )
        return read_classes(file)
    if not isinstance(classes, list):
        raise UserError(f"{path}: classes is {classes!r}, expected a list or the name of a file")
    rows = [{"name": row} if isinstance(row, str) else row for row in classes]
    return table_from_rows(rows, f"{path}, classes")
