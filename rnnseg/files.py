"""Files and folders that are either whole or not there."""

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from rnnseg.errors import UserError


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Gives a temporary path in the same folder; renames it to `path` when the block succeeds.

    A reader sees the old file or the new one, never a half-written one, also when the process is
    killed. The temporary name keeps the ending of `path`, since writers choose the format by it.

    Args:
      path: the file to write; its folder is made where it is missing.

    Yields:
      The path to write to.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = pathlib.Path(name)
    try:
        yield temporary
        _publish(temporary, path, 0o666)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Gives a temporary folder beside `path`; renames it to `path` when the block succeeds.

    Then it also removes what killed processes left of earlier attempts.

    Args:
      path: the folder to write, new or empty; the one above it is made where it is missing.

    Yields:
      The folder to write to.
    """
    path = pathlib.Path(path)
    beginning = f".{path.name}.incomplete."
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = pathlib.Path(tempfile.mkdtemp(prefix=beginning, dir=path.parent))
    try:
        yield temporary
        _publish(temporary, path, 0o777)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for left in path.parent.glob(f"{beginning}*"):
        shutil.rmtree(left, ignore_errors=True)


def remove_folder(path: str | os.PathLike) -> None:
    """Removes a folder; interrupted in the middle, none of it is left in its place."""
    path = pathlib.Path(path)
    aside = tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent)
    os.replace(path, aside)
    shutil.rmtree(aside)


def _publish(temporary: pathlib.Path, path: pathlib.Path, mode: int) -> None:
    """Renames to the final name, with the mode that open() or mkdir() would have given."""
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(mode & ~umask)
    os.replace(temporary, path)


def beside(model: str | os.PathLike, name: str) -> pathlib.Path:
    """Where a file that belongs to a model lies.

    Args:
      model: the folder of a run, or a model's own file.
      name: such as "curve.png".

    Returns:
      `RUN/curve.png`, or `MODEL.curve.png` beside `MODEL.keras`.
    """
    model = pathlib.Path(model)
    return model / name if model.is_dir() else model.with_name(f"{model.stem}.{name}")


def check_writable(path: str | os.PathLike, ending: str | None = None) -> None:
    """Makes sure that `path` can be written, before the work whose result goes there.

    Args:
      path: the file.
      ending: what its name must end in, such as ".png"; None: anything.

    Raises:
      UserError: another ending, a folder, or its own folder cannot be made or written.
    """
    path = pathlib.Path(path)
    if ending is not None and path.suffix.lower() != ending:
        raise UserError(f"{path}: expected a file name that ends in {ending}")
    if path.is_dir():
        raise UserError(f"{path} is a folder; expected a file to write")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error
