"""Labelled data: where it comes from and how it becomes batches."""

from rnnseg.data.source import IGNORE_LABEL, Source

__all__ = ["IGNORE_LABEL", "Source", "open_source"]


def open_source(data: str) -> Source:
    """Opens a data set by what a user calls it.

    Args:
      data: `"shapes"`, the embedded drawn data set, or a folder that a `data_prep` command built.

    Returns:
      The data set.

    Raises:
      UserError: there is no data set of that name or in that folder.
    """
    if data == "shapes":
        from rnnseg.data import shapes

        return shapes.source()
    from rnnseg.data import records

    return records.open_records(data)
