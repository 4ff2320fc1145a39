"""Files of this machine, and of the object stores that Apache Beam knows, such as gs://."""

import os
import pathlib
from collections.abc import Sequence

from rnnseg.data.images import IMAGE_ENDINGS, find_images
from rnnseg.errors import UserError, first_line
from rnnseg.files import atomic_path

_LIST_ENDING = ".txt"


def is_remote(path: str) -> bool:
    """Returns True for a path of an object store."""
    return "://" in path


def join(folder: str, *names: str) -> str:
    """Returns a path in a folder."""
    return (
        "/".join((folder.rstrip("/"), *names))
        if is_remote(folder)
        else os.path.join(folder, *names)
    )


def read(path: str) -> bytes:
    """Reads a file.

    Raises:
      UserError: it cannot be read.
    """
    try:
        if not is_remote(path):
            return pathlib.Path(path).read_bytes()
        from apache_beam.io.filesystem import CompressionTypes
        from apache_beam.io.filesystems import FileSystems

        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            return file.read()
    # Those of object stores have no common class.
    except Exception as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise UserError(f"{path}: cannot be read ({reason})") from error


def write(path: str, data: bytes) -> None:
    """Writes a file, which appears as a whole; objects in a store always do."""
    if not is_remote(path):
        pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.write_bytes(data)
        return
    from apache_beam.io.filesystem import CompressionTypes
    from apache_beam.io.filesystems import FileSystems

    with FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        file.write(data)


def match(pattern: str) -> list[str]:
    """Returns the paths of all files that a pattern stands for, without hidden ones, sorted.

    Raises:
      UserError: the store cannot be read, or Apache Beam lacks what it needs.
    """
    if not is_remote(pattern):
        path = pathlib.Path(pattern)
        return sorted(str(each) for each in path.parent.glob(path.name) if each.name[0] != ".")
    from apache_beam.io.filesystems import FileSystems

    try:
        (found,) = FileSystems.match([pattern])
    except Exception as error:  # without a common class
        raise UserError(f"{pattern}: cannot be listed ({first_line(error)})") from error
    return sorted(each.path for each in found.metadata_list)


def find_inputs(arguments: Sequence[str]) -> list[str]:
    """Finds images.

    Args:
      arguments: files, folders and patterns, as `rnnseg.data.images.find_images` takes them;
        patterns of an object store; and lists of files, one on a line, whose names end in .txt.

    Returns:
      The paths, without repetitions, in the order of the arguments.

    Raises:
      UserError: an argument stands for no image, or a list cannot be read.
    """
    found: dict[str, None] = {}
    for argument in arguments:
        if argument.endswith(_LIST_ENDING):
            try:
                lines = read(argument).decode().splitlines()
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{argument}: no UTF-8 text, expected a path on each line"
                ) from error
            files = [line.strip() for line in lines if line.strip()]
        elif is_remote(argument):
            files = [each for each in match(argument) if each.lower().endswith(IMAGE_ENDINGS)]
        else:
            files = list(map(str, find_images([argument])))
        if not files:
            raise UserError(
                f"{argument}: no image found; expected a file, a folder or a pattern of "
                f"{', '.join(IMAGE_ENDINGS)}, or a {_LIST_ENDING} file that lists them"
            )
        found |= dict.fromkeys(files)
    return list(found)
