"""Files in folders, zips and tars, all read in the same way and without unpacking anything."""

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

from rnnseg.errors import UserError

_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError)
# "Remove it", since the downloaders take what is there for whole.
_WAY_OUT = "remove it and download it again"


@dataclasses.dataclass(frozen=True)
class _Member:
    """A file in an archive.

    Attributes:
      archive: the archive.
      name: the file's name in it.
    """

    archive: pathlib.Path
    name: str

    def __str__(self) -> str:
        return f"{self.archive}/{self.name}"


@dataclasses.dataclass(frozen=True)
class ZipMember(_Member):
    """A file in a zip. Small, so that it can be sent to another process."""

    def read_bytes(self) -> bytes:
        """The file's contents.

        Raises:
          UserError: the zip is damaged there.
        """
        with _reading(self):
            return _open_zip(self.archive, self.archive.stat().st_mtime_ns).read(self.name)


@dataclasses.dataclass(frozen=True)
class TarMember(_Member):
    """A file in a tar that is not compressed, where it can be read at once.

    Attributes:
      offset: where its contents begin, in bytes.
      size: of its contents, in bytes.
    """

    offset: int
    size: int

    def read_bytes(self) -> bytes:
        """The file's contents.

        Raises:
          UserError: the tar ends before them.
        """
        with _reading(self), open(self.archive, "rb") as file:
            file.seek(self.offset)
            data = file.read(self.size)
            if len(data) < self.size:
                raise EOFError(f"{self.size - len(data)} bytes are missing")
            return data


@dataclasses.dataclass(frozen=True)
class LoadedMember(_Member):
    """A file from a compressed tar, which can only be read from its beginning: kept in memory.

    Attributes:
      data: its contents.
    """

    data: bytes = dataclasses.field(repr=False)

    def read_bytes(self) -> bytes:
        """The file's contents."""
        return self.data


File = pathlib.Path | ZipMember | TarMember | LoadedMember
"""What can be read: `read_bytes()`, and `str()` for messages. Can be sent to another process."""


def list_files(path: pathlib.Path, wanted: str = "") -> Mapping[str, File]:
    """Finds the files in a folder, a zip or a tar.

    Args:
      path: the folder, to be searched with all folders below it, or the archive, whatever its
        name ends in.
      wanted: a regular expression found in the names of the files that are needed. Others are left
        out; those of a compressed tar would fill the memory.

    Returns:
      The files by their names relative to `path`, with `/` between folders, in alphabetical order.

    Raises:
      UserError: there is nothing of that name, or it is neither, is damaged, or has a file whose
        name leads out of it.
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
    return {name: files[name] for name in sorted(files) if pattern.search(name)}


def status_of(file: File) -> tuple[str, int, int]:
    """What changes when a file is replaced: its name, its size and its time of change.

    Args:
      file: the file; of a member of an archive, that of the archive is given.

    Raises:
      UserError: it is missing, such as behind a broken link.
    """
    path = file if isinstance(file, pathlib.Path) else file.archive
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    return path.name, status.st_size, status.st_mtime_ns


def _walk(folder: pathlib.Path) -> Iterator[tuple[str, pathlib.Path]]:
    # Not rglob, which does not follow links to folders, and data often lies behind such links.
    for parent, folders, files in os.walk(folder, followlinks=True):
        # Hidden files are what file managers and editors leave behind.
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if not name.startswith("."):
                file = pathlib.Path(parent, name)
                yield file.relative_to(folder).as_posix(), file


def _list_zip(path: pathlib.Path) -> Iterator[tuple[str, ZipMember]]:
    for info in _open_zip(path, path.stat().st_mtime_ns).infolist():
        if not info.is_dir():
            yield _check_name(path, info.filename), ZipMember(path, info.filename)


def _list_tar(
    path: pathlib.Path, pattern: re.Pattern
) -> Iterator[tuple[str, TarMember | LoadedMember]]:
    with open(path, "rb") as file:
        # A tar has no magic number at its start; compressed ones have.
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
                continue  # links are not followed: they could lead anywhere
            name = _check_name(path, info.name)
            if not compressed:
                yield name, TarMember(path, info.name, info.offset_data, info.size)
            elif pattern.search(name):
                yield name, LoadedMember(path, info.name, tar.extractfile(info).read())
    # tarfile takes an end between two files for the end of the archive; a whole one ends in zeros.
    if not compressed and path.stat().st_size < end + tarfile.BLOCKSIZE:
        raise EOFError("its end is missing")


def _check_name(path: pathlib.Path, name: str) -> str:
    parts = pathlib.PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or re.match("[A-Za-z]:", name):
        raise UserError(
            f"{path}: holds {name!r}, a path that leads out of the archive; do not trust it, "
            "download it from its publisher"
        )
    return parts.as_posix()


@contextlib.contextmanager
def _reading(what: File):
    """Turns what reading a damaged archive raises into a UserError."""
    try:
        yield
    except _DAMAGED as error:
        raise UserError(f"{what}: truncated or damaged ({error}); {_WAY_OUT}") from error
    except OSError as error:
        # gzip reports damage as an OSError without a number.
        reason = error.strerror or error
        raise UserError(f"{what}: cannot be read ({reason}); {_WAY_OUT}") from error


@functools.lru_cache(maxsize=16)
def _open_zip(path: pathlib.Path, changed: int) -> zipfile.ZipFile:  # noqa: ARG001
    """The opened zip: reading the directory of one with thousands of files takes a while.

    Args:
      path: the zip.
      changed: its time of change, so that another file of that name is opened anew.
    """
    return zipfile.ZipFile(path)
