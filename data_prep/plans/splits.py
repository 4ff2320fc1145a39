"""Splits of one folder of images, by ratio or by list, and that they share no image."""

import collections
import hashlib
import pathlib
import re
from collections.abc import Mapping, Sequence

from tqdm import tqdm

from rnnseg.errors import UserError

from ..archives import File, status_of
from ..common import Pair, some

REST = "train"
"""The split of all images that are in no other."""


def parse_splits(options: Sequence[str]) -> dict[str, float | pathlib.Path]:
    """Reads the values of `--split`.

    Args:
      options: each is NAME=WHAT, where WHAT is a ratio between 0 and 1 or the path of a list.

    Returns:
      Ratios and paths by the splits' names, in the order given.

    Raises:
      UserError: one has another form, a split is there twice, the ratios leave nothing, there is no
        such list, or `train` has a ratio or is listed beside ratios.
    """
    splits = {}
    for option in options:
        name, _, what = option.partition("=")
        # TFDS puts the names into those of files, and takes "all" for all splits.
        if not re.fullmatch(r"\w+", name, re.ASCII) or name == "all" or not what:
            raise UserError(
                f"--split {option}: expected NAME=RATIO or NAME=FILE, with a name of letters, "
                "digits and _, such as val=0.2"
            )
        if name in splits:
            raise UserError(f"--split {option}: the split {name!r} is there already")
        splits[name] = _parse_what(option, what)
    ratios = {name: what for name, what in splits.items() if isinstance(what, float)}
    if ratios and REST in splits:
        raise UserError(
            f"--split {REST}={splits[REST]}: {REST} is what the others leave if one of them has a "
            f"ratio; leave it out, or give lists for all"
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

    Ratios are of the images that are in no list. Which ones they take follows from a hash of each
    name alone, so that it is always the same, and few change their split when images are added.

    Args:
      images: the images by name: their paths below the folder, without ending.
      folder: what messages call it.
      splits: from `parse_splits`.

    Returns:
      The names of every split; of `train` first, which is what is left unless it has a list.

    Raises:
      UserError: a list cannot be read, is empty, has an image twice or one that is not there, two
        lists share an image, or nothing is left for a split.
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
            "expected one at least"
        )
    return {REST: rest, **divided}


def require_disjoint(splits: Mapping[str, Sequence[Pair]]) -> None:
    """Makes sure that no image is in two splits, under whatever names.

    Raises:
      UserError: the images of two splits are one file, or two files of the same bytes; or a file
        is missing.
    """
    by_size = collections.defaultdict(list)
    for split, pairs in splits.items():
        for pair in pairs:
            by_size[status_of(pair.image)[1]].append((split, pair.image))
    # Only files of one size can be the same: of photographs hardly any have to be read.
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
                f"--split {option}: no such file, expected a list of images, one a line, or a "
                "ratio between 0 and 1"
            ) from None
        return path
    if not 0 < ratio < 1:
        raise UserError(f"--split {option}: expected a ratio between 0 and 1")
    return ratio


def _read_list(path: pathlib.Path, images: Mapping[str, File], folder: pathlib.Path) -> list[str]:
    """The names that a list names, in its order."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a list of images ({error})") from error
    known = {name: name for name in images}
    known |= {f"{name}{pathlib.PurePath(str(file)).suffix}": name for name, file in images.items()}
    entries = [
        pathlib.PurePosixPath(line.strip().replace("\\", "/")).as_posix()
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
        raise UserError(f"{path}: more than once: {some(twice)}")
    return names


def _rank(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
