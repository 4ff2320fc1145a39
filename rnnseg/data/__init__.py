"""Labelled data: sources of images and labels, and the batches made from them."""

import os
import pathlib

from rnnseg.data.selection import TFDS_PREFIX, Selection
from rnnseg.data.source import IGNORE_LABEL, Source

__all__ = ["IGNORE_LABEL", "Source", "absolute_data", "open_source"]

_SHAPES = "shapes"
_DESCRIPTION_ENDING = ".json"


def open_source(data: str) -> Source:
    """Opens a data set by the name that users give it, as in `--data`.

    Args:
      data: one of:

        - `"shapes"`: the embedded data set of drawn shapes;
        - a folder that `rnnseg prepare` built (`rnnseg.data.records`);
        - a folder of records of DeepLab or of TensorFlow's Model Garden with a list of its classes
          (`rnnseg.data.model_garden`);
        - `"tfds:NAME"` or `"tfds:NAME/CONFIG:VERSION"`: a TFDS data set with images and index masks
          (`rnnseg.data.tfds_source`);
        - a `.json` file that names one of the last three and the keys, classes and splits to read
          (`rnnseg.data.description`).

    Returns:
      The data set.

    Raises:
      UserError: the data set does not exist or cannot be read.
    """
    if data == _SHAPES:
        from rnnseg.data import shapes

        return shapes.source()
    selection = Selection()
    if data.lower().endswith(_DESCRIPTION_ENDING):
        from rnnseg.data import description

        data, selection = description.read_description(pathlib.Path(data))
    if data.startswith(TFDS_PREFIX):
        from rnnseg.data import tfds_source

        return tfds_source.open_tfds(data.removeprefix(TFDS_PREFIX), selection)
    from rnnseg.data import model_garden, records

    if model_garden.has_model_garden_records(data):
        return model_garden.open_model_garden(data, selection)
    return records.open_records(data, selection)


def absolute_data(data: str) -> str:
    """Returns a name that `open_source` takes for the same data set in any working folder."""
    return data if data == _SHAPES or data.startswith(TFDS_PREFIX) else os.path.abspath(data)
