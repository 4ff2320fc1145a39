"""Uniform reading of files in folders, zips and tars, without unpacking archives."""

import contextlib
import dataclasses
import functools
import os
import pathlib
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping

from tqdm import tqdm

from rnnseg.data.images import is_hidden
from rnnseg.errors import UserError

_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError)
# The message says "remove it", since downloaders take an existing file for a complete one.
_WAY_OUT = "remove it and download it again"


@dataclasses.dataclass(frozen=True)
class _Member:
    """A file in an archive.

    Attributes:
      archive: the archive.
      name: the name of the file in the archive.
    """

    archive: pathlib.Path
    name: str

    def __str__(self) -> str:
        return f"{self.archive}/{self.name}"


@dataclasses.dataclass(frozen=True)
class ZipMember(_Member):
    """A file in a zip: a small object that can be sent to another process."""

    def read_bytes(self) -> bytes:
        """Returns the contents of the file.

        Raises:
          UserError: the zip is damaged at this file.
        """
        with _reading(self):
            return _open_zip(self.archive, self.archive.stat().st_mtime_ns).read(self.name)


@dataclasses.dataclass(frozen=True)
class TarMember(_Member):
    """A file in an uncompressed tar, which allows random access.

    Attributes:
      offset: the position of its contents in the tar, in bytes.
      size: the size of its contents, in bytes.
    """

    offset: int
    size: int

    def read_bytes(self) -> bytes:
        """Returns the contents of the file.

        Raises:
          UserError: the tar ends before the end of the file.
        """
        with _reading(self), open(self.archive, "rb") as file:
            file.seek(self.offset)
            data = file.read(self.size)
            if len(data) < self.size:
                raise EOFError(f"{self.size - len(data)} bytes are missing")
            return data


@dataclasses.dataclass(frozen=True)
class LoadedMember(_Member):
    """A file in a compressed tar, kept in memory since the tar can only be read from its start.

    Attributes:
      data: the contents of the file.
    """

    data: bytes = dataclasses.field(repr=False)

    def read_bytes(self) -> bytes:
        """Returns the contents of the file."""
        return self.data


File = pathlib.Path | ZipMember | TarMember | LoadedMember
"""A file with `read_bytes()`, and with `str()` for messages. Can be sent to another process."""


def list_files(path: pathlib.Path, wanted: str = "") -> Mapping[str, File]:
    """Finds the files in a folder, a zip or a tar.

    Args:
      path: the folder, which is searched with all folders below it, or the archive, regardless of
        the ending of its name.
      wanted: a regular expression that is searched in the names. Files that do not match are left
        out; in a compressed tar they would fill the memory.

    Returns:
      The files by their names relative to `path`, with `/` between folders, in alphabetical order.
      Hidden files are left out: they are remains of file managers and editors.

    Raises:
      UserError: `path` does not exist, is neither a folder nor an archive, is damaged, or has a
        file whose name leads out of it.
    """
    pattern = re.compile(wanted)
    if path.is_dir():
        files = dict(_walk(path))
    elif not path.exists():
        raise UserError(f"{path}: no such file or folder")
    else:
        with _reading(path):
            if zipfile.is_zipfile(path):
                files = dict(_list_zip(path))
            elif path.suffix.lower() == ".zip":
                raise UserError(f"{path}: truncated or damaged, its end is missing; {_WAY_OUT}")
            else:
                files = dict(_list_tar(path, pattern))
    return {
        name: files[name]
        for name in sorted(files)
        if pattern.search(name) and not any(map(is_hidden, name.split("/")))
    }


def status_of(file: File) -> tuple[str, int, int]:
    """Returns the name, the size and the time of change, which tell when a file was replaced.

    Args:
      file: the file. For a member of an archive, the status of the archive is returned.

    Raises:
      UserError: the file is missing, for example behind a broken link.
    """
    path = file if isinstance(file, pathlib.Path) else file.archive
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    return path.name, status.st_size, status.st_mtime_ns


def _walk(folder: pathlib.Path) -> Iterator[tuple[str, pathlib.Path]]:
    # Not rglob, since it does not follow links to folders, and data often lie behind such links.
    # Each folder is kept with those above it: a link back to one of these would give every file
    # again and again.
    above = {os.fspath(folder): (os.path.realpath(folder),)}
    for parent, folders, files in os.walk(folder, followlinks=True):
        chain = above.pop(parent)
        inside = {name: os.path.realpath(os.path.join(parent, name)) for name in folders}
        folders[:] = sorted(
            name
            for name, real in inside.items()
            if not is_hidden(name) and not any(_holds(real, each) for each in chain)
        )
        above |= {os.path.join(parent, name): (*chain, inside[name]) for name in folders}
        for name in files:
            file = pathlib.Path(parent, name)
            yield file.relative_to(folder).as_posix(), file


def _holds(folder: str, other: str) -> bool:
    """Returns True if a folder is the other one or lies above it; both are free of links."""
    return os.path.commonpath([folder, other]) == folder


def _list_zip(path: pathlib.Path) -> Iterator[tuple[str, ZipMember]]:
    for info in _open_zip(path, path.stat().st_mtime_ns).infolist():
        if not info.is_dir():
            yield _check_name(path, info.filename), ZipMember(path, info.filename)


def _list_tar(
    path: pathlib.Path, pattern: re.Pattern
) -> Iterator[tuple[str, TarMember | LoadedMember]]:
    with open(path, "rb") as file:
        # Compressed tars have a magic number at their start, others do not.
        compressed = file.read(2) in (b"\x1f\x8b", b"BZ", b"\xfd7")
    end = 0
    with (
        open(path, "rb") as file,
        tqdm.wrapattr(
            file,
            "read",
            total=path.stat().st_size,
            desc=f"read {path.name}",
            leave=False,
            disable=None if compressed else True,
        ) as watched,
        tarfile.open(fileobj=watched, mode="r|*" if compressed else "r:") as tar,
    ):
        for info in tar:
            end = info.offset_data + -(-info.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
            if not info.isreg():
                continue  # links are not followed, since they could lead anywhere
            name = _check_name(path, info.name)
            if not compressed:
                yield name, TarMember(path, info.name, info.offset_data, info.size)
            elif pattern.search(name):
                yield name, LoadedMember(path, info.name, tar.extractfile(info).read())
    # tarfile accepts a tar that was cut off between two files; a complete one ends in zeros.
    if not compressed and path.stat().st_size < end + tarfile.BLOCKSIZE:
        raise EOFError("its end is missing")


def _check_name(path: pathlib.Path, name: str) -> str:
    parts = pathlib.PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or re.match("[A-Za-z]:", name):
        raise UserError(
            f"{path}: holds {name!r}, a path that leads out of the archive; do not trust it, "
            "download the archive from its publisher"
        )
    return parts.as_posix()


@contextlib.contextmanager
def _reading(what: File):
    """Turns the errors of reading a damaged archive into a UserError."""
    try:
        yield
    except _DAMAGED as error:
        raise UserError(f"{what}: truncated or damaged ({error}); {_WAY_OUT}") from error
    except OSError as error:
        # gzip reports damage as an OSError without an error number.
        reason = error.strerror or error
        raise UserError(f"{what}: cannot be read ({reason}); {_WAY_OUT}") from error


@functools.lru_cache(maxsize=16)
def _open_zip(path: pathlib.Path, changed: int) -> zipfile.ZipFile:  # noqa: ARG001
    """Opens a zip and caches it, since reading a directory of thousands of files takes a while.

    Args:
      path: the zip.
      changed: its time of change, so that a replaced file is opened again.
    """
    return zipfile.ZipFile(path)
