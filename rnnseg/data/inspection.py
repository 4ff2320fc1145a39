"""Statistics and overlays of a data set, to inspect before training on it."""

import itertools
import os
from collections.abc import Sequence

import numpy as np

from rnnseg import visualize
from rnnseg.data.reading import read_images
from rnnseg.data.scan import SplitScan, scan_split
from rnnseg.data.source import IGNORE_LABEL, Source
from rnnseg.errors import UserError
from rnnseg.files import check_writable

_SHEET_IMAGES = 12
_MOST_FAULTS = 50
_MUCH_IGNORED = 0.5


def inspect(source: Source, splits: Sequence[str], sheet: str | os.PathLike) -> None:
    """Prints the contents of a data set and writes a sheet of overlays.

    Args:
      source: the data set.
      splits: the splits to inspect; if empty, all splits with images.
      sheet: the PNG file to write, with overlays of images of the first split.

    Raises:
      UserError: a split does not exist; or, after everything is printed, the data have faults that
        would stop a training.
    """
    check_writable(sheet, ".png")
    splits = list(splits) or [name for name, size in source.split_sizes.items() if size]
    if not splits:
        raise UserError(f"{source.name} has no images in any split")
    print(f"{source.name}: {source.num_classes} classes")
    scans = [scan_split(source, split) for split in splits]
    for scan in scans:
        _print_split(scan)
    _print_histogram(source, scans)
    for line in _suspicions(source, scans):
        print(f"look: {line}")
    for scan in scans:
        _print_faults(scan)
    if not any(scan.faults for scan in scans):
        _save_sheet(source, splits[0], scans[0].images, sheet)
        print(f"wrote {sheet}: do the colours match the objects?")
    for scan in scans:
        scan.raise_if_bad(source)


def _print_split(scan: SplitScan) -> None:
    (height, width), count = scan.sizes.most_common(1)[0] if scan.sizes else ((0, 0), 0)
    heights, widths = zip(*(scan.sizes or [(0, 0)]), strict=True)
    sizes = f"{height}x{width}"
    if len(scan.sizes) > 1:
        sizes = (
            f"{min(heights)}-{max(heights)} high, {min(widths)}-{max(widths)} wide, most often "
            f"{sizes} ({count})"
        )
    print(
        f"  {scan.split}: {scan.images} images, {sizes}; "
        f"{100 * scan.ignored_share:.1f} % of the pixels ignored"
    )


def _print_faults(scan: SplitScan) -> None:
    for fault in scan.faults[:_MOST_FAULTS]:
        print(f"fault: {scan.split}: {fault}")
    if len(scan.faults) > _MOST_FAULTS:
        print(f"fault: {scan.split}: and {len(scan.faults) - _MOST_FAULTS} more")


def _print_histogram(source: Source, scans: Sequence[SplitScan]) -> None:
    width = max(len(name) for name in source.class_names)
    print(f"\n{'':5s}{'class':{width}s}" + "".join(f"{scan.split:>20s}" for scan in scans))
    print(f"{'':5s}{'':{width}s}" + f"{'pixels %':>10s}{'images':>10s}" * len(scans))
    for label, name in enumerate(source.class_names):
        cells = ""
        for scan in scans:
            share = scan.label_pixels[label] / max(scan.label_pixels[:IGNORE_LABEL].sum(), 1)
            cells += f"{100 * share:10.2f}{scan.label_images[label]:10d}"
        print(f"{label:3d}  {name:{width}s}{cells}")
    print()


def _suspicions(source: Source, scans: Sequence[SplitScan]) -> list[str]:
    lines = []
    for scan in scans:
        missing = [
            name for label, name in enumerate(source.class_names) if not scan.label_pixels[label]
        ]
        if missing:
            lines.append(f"split {scan.split!r} has no pixel of {', '.join(missing)}")
        if scan.ignored_share > _MUCH_IGNORED:
            lines.append(
                f"{100 * scan.ignored_share:.0f} % of the pixels in split {scan.split!r} are "
                "ignored; is the ignore value one of the classes?"
            )
    return lines


def _save_sheet(source: Source, split: str, count: int, path: str | os.PathLike) -> None:
    step = max(1, count // _SHEET_IMAGES)
    chosen = itertools.islice(read_images(source, split), 0, step * _SHEET_IMAGES, step)
    images, labels, names = zip(*chosen, strict=True)
    visualize.save_sheet(
        path,
        images,
        [label.astype(np.int64) for label in labels],
        [name.decode() for name in names],
        source.class_colors,
        source.class_names,
    )
