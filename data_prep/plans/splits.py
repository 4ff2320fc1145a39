"""Splits of a folder of images by ratios or lists, and the check that they share no image."""

import collections
import hashlib
import pathlib
import re
from collections.abc import Mapping, Sequence

from tqdm import tqdm

from rnnseg import schemas
from rnnseg.errors import UserError

from ..archives import File, status_of
from ..common import Pair, composed, some

_MOST_LISTED = 1 << 28  # bytes of a list of images

REST = "train"
"""The split of all images that are in no other split."""


def parse_splits(options: Sequence[str]) -> dict[str, float | pathlib.Path]:
    """Reads the values of `--split`.

    Args:
      options: texts NAME=WHAT, where WHAT is a ratio between 0 and 1 or the path of a list.

    Returns:
      Ratios and paths by the names of the splits, in the order given.

    Raises:
      UserError: an option has another form, a split is given twice, the ratios leave nothing, a
        list does not exist, or `train` has a ratio, or a list while another split has a ratio.
    """
    splits = {}
    for option in options:
        name, _, what = option.partition("=")
        # TFDS uses the names in file names, and reads "all" as all splits.
        if not re.fullmatch(r"\w+", name, re.ASCII) or name == "all" or not what:
            raise UserError(
                f"--split {option}: expected NAME=RATIO or NAME=FILE, with a name of letters, "
                "digits and _, such as val=0.2"
            )
        if name in splits:
            raise UserError(f"--split {option}: the split {name!r} is given already")
        splits[name] = _parse_what(option, what)
    ratios = {name: what for name, what in splits.items() if isinstance(what, float)}
    if ratios and REST in splits:
        raise UserError(
            f"--split {REST}={splits[REST]}: if a split has a ratio, {REST} has the remaining "
            f"images; leave it out, or give lists for all splits"
        )
    if sum(ratios.values()) >= 1:
        raise UserError(
            f"--split: the ratios {', '.join(str(ratio) for ratio in ratios.values())} leave "
            f"nothing for {REST}, expected a sum below 1"
        )
    return splits


def split_names(
    images: Mapping[str, File], folder: pathlib.Path, splits: Mapping[str, float | pathlib.Path]
) -> dict[str, list[str]]:
    """Divides images into splits.

    Ratios refer to the images that are in no list. A hash of its name alone determines the place of
    an image, so splits are reproducible, and few images change their split when others are added.

    Args:
      images: the images by name, which is the path below the folder without the ending.
      folder: the name of the folder in messages.
      splits: the ratios and lists, from `parse_splits`.

    Returns:
      The names of every split, `train` first. Unless it has a list, `train` has the images that
      are in no other split.

    Raises:
      UserError: a list cannot be read, is empty, names an image twice or a missing image, two lists
        share an image, or nothing is left for a split.
    """
    lists = {
        split: _read_list(what, images, folder)
        for split, what in splits.items()
        if isinstance(what, pathlib.Path)
    }
    listed = {}
    for split, names in lists.items():
        for name in names:
            if name in listed:
                raise UserError(
                    f"{splits[listed[name]]} and {splits[split]}: {name!r} is in both, expected "
                    "every image in one split; remove it from one of them"
                )
            listed[name] = split
    free = sorted(images.keys() - listed.keys(), key=_rank)
    divided, start, total = {}, 0, len(free)
    for split, what in splits.items():
        if isinstance(what, float):
            count = max(1, round(what * total))
            divided[split] = sorted(free[start : start + count])
            start += count
        else:
            divided[split] = lists[split]
    rest = divided.pop(REST, None) or sorted(free[start:])
    if not rest or start > total:
        raise UserError(
            f"{folder}: the other splits leave none of the {len(images)} images for {REST}, "
            "expected at least one"
        )
    return {REST: rest, **divided}


def require_disjoint(splits: Mapping[str, Sequence[Pair]]) -> None:
    """Checks that no image is in two splits, regardless of names.

    Raises:
      UserError: two splits share an image, as the same file or as files with the same bytes; or a
        file is missing.
    """
    by_size = collections.defaultdict(list)
    for split, pairs in splits.items():
        for pair in pairs:
            by_size[status_of(pair.image)[1]].append((split, pair.image))
    # Only files of the same size can be equal, so hardly any photographs have to be read.
    candidates = [
        item
        for items in by_size.values()
        if len({split for split, _ in items}) > 1
        for item in items
    ]
    seen = {}
    for split, image in tqdm(
        candidates, desc="compare images", unit=" images", leave=False, disable=None
    ):
        digest = hashlib.sha256(image.read_bytes()).digest()
        other_split, other = seen.setdefault(digest, (split, image))
        if other_split != split:
            raise UserError(
                f"{other} and {image}: the same image in the splits {other_split} and {split}, "
                "expected every image in one; remove one of the two, or list both in one split"
            )


def _parse_what(option: str, what: str) -> float | pathlib.Path:
    try:
        ratio = float(what)
    except ValueError:
        path = pathlib.Path(what)
        if not path.is_file():
            raise UserError(
                f"--split {option}: no such file, expected a list with one image per line, or a "
                "ratio between 0 and 1"
            ) from None
        return path
    if not 0 < ratio < 1:
        raise UserError(f"--split {option}: expected a ratio between 0 and 1")
    return ratio


def _read_list(path: pathlib.Path, images: Mapping[str, File], folder: pathlib.Path) -> list[str]:
    """Reads the names in a list, in its order."""
    lines = schemas.read_text(path, "expected a list of images", _MOST_LISTED).splitlines()
    known = {name: name for name in images}
    known |= {f"{name}{pathlib.PurePath(str(file)).suffix}": name for name, file in images.items()}
    entries = [
        pathlib.PurePosixPath(composed(line.strip().replace("\\", "/"))).as_posix()
        for line in lines
        if line.strip()
    ]
    if not entries:
        raise UserError(f"{path}: empty, expected an image on every line")
    unknown = [entry for entry in entries if entry not in known]
    if unknown:
        raise UserError(
            f"{path}: {len(unknown)} of {len(entries)} are no images below {folder}: "
            f"{some(unknown)}; expected paths relative to it, with or without ending"
        )
    names = [known[entry] for entry in entries]
    twice = [name for name, count in collections.Counter(names).items() if count > 1]
    if twice:
        raise UserError(f"{path}: listed more than once: {some(twice)}")
    return names


def _rank(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
