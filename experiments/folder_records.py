"""Records of images and masks that an experiment leaves in folders."""

import os
import pathlib

from data_prep.run import run


def build_records(
    folder: pathlib.Path, out: pathlib.Path, classes: pathlib.Path, ignore: tuple[str, ...] = ()
) -> None:
    """Builds records, as `rnnseg prepare folder` does, unless they are there.

    Args:
      folder: has `train/images`, `train/masks`, `val/images` and `val/masks`. Masks are PNGs of
        class indices.
      out: the folder for the records. Its name is that of the data set in scores.
      classes: the file of the classes.
      ignore: labels, such as "255", that become the ignored one.
    """
    run(
        "SegmentationFolder",
        out=out,
        processes=os.cpu_count() or 1,
        beam_options=None,
        skip_bad=False,
        folders=dict(
            images=folder / "train" / "images",
            masks=folder / "train" / "masks",
            val_images=folder / "val" / "images",
            val_masks=folder / "val" / "masks",
            split=(),
            classes=classes,
            ignore=ignore,
            remap=(),
            mask_suffix="",
            mask_encoding="index",
        ),
    )
