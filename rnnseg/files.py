"""Files and folders that are either whole or not there."""

import contextlib
import errno
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from rnnseg.errors import UserError

# No room, and none for a file of that size: what fails so does not know the name of its file.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Gives a temporary path in the same folder; renames it to `path` when the block succeeds.

    A reader sees the old file or the new one, never a half-written one, also when the process is
    killed. The temporary name keeps the ending of `path`, since writers choose the format by it.

    Args:
      path: the file to write; its folder is made where it is missing.

    Yields:
      The path to write to.

    Raises:
      UserError: something is there that is no regular file.
      OSError: it cannot be written; the error names `path`.
    """
    path = pathlib.Path(path)
    _require_file(path)
    home, beginning = pathlib.Path(os.path.abspath(path.parent)), f".{path.stem}."
    with _named(path, home / beginning):
        home.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=beginning, suffix=path.suffix, dir=home)
        os.close(handle)
        temporary = pathlib.Path(name)
        try:
            yield temporary
            _publish(temporary, home / path.name, 0o666)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Gives a temporary folder beside `path`; renames it to `path` when the block succeeds.

    Then it also removes what killed processes left of earlier attempts.

    Args:
      path: the folder to write, new or empty when the block ends; the one above it is made where it
        is missing.

    Yields:
      The folder to write to.

    Raises:
      UserError: there cannot be a new folder at `path`, as where a file system is mounted; before
        anything is written.
      OSError: it cannot be written; the error names `path`.
    """
    target = pathlib.Path(os.path.realpath(path))
    beginning = f".{target.name}.incomplete."
    temporary = _make_beside(path, target, beginning)
    with _named(path, temporary):
        try:
            yield temporary
            _publish(temporary, target, 0o777)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    for left in target.parent.glob(f"{beginning}*"):
        shutil.rmtree(left, ignore_errors=True)


def _make_beside(path, target: pathlib.Path, beginning: str) -> pathlib.Path:
    """Makes a folder that can be renamed to `target`, which the user calls `path`."""
    if target.exists() and not target.is_dir():
        raise UserError(f"{path} is no folder; expected a new or an empty one")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            # Only trying tells whether it can be replaced: not where it is a mount point, say.
            os.replace(_move_aside(target), target)
        return pathlib.Path(tempfile.mkdtemp(prefix=beginning, dir=target.parent))
    except OSError as error:
        if not target.is_dir():
            raise UserError(f"{path} cannot be written: {error.strerror}") from error
        raise UserError(
            f"{path} cannot be replaced as a whole ({error.strerror}): choose a new folder in it, "
            f"such as {pathlib.Path(path, 'new')}"
        ) from error


def remove_folder(path: str | os.PathLike) -> None:
    """Removes a folder; interrupted in the middle, none of it is left in its place."""
    shutil.rmtree(_move_aside(pathlib.Path(path)))


def _move_aside(path: pathlib.Path) -> pathlib.Path:
    """Gives a folder a hidden name beside its own, and returns that."""
    aside = pathlib.Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        os.replace(path, aside)
    except OSError:
        aside.rmdir()
        raise
    return aside


def _publish(temporary: pathlib.Path, path: pathlib.Path, mode: int) -> None:
    """Renames to the final name, with the mode that open() or mkdir() would have given."""
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(mode & ~umask)
    os.replace(temporary, path)


@contextlib.contextmanager
def _named(path, beginning: pathlib.Path) -> Iterator[None]:
    """Has errors of writing name `path`, not what begins with a temporary name or nothing at all.

    Those of other files, which are read in the meantime, stay as they are.
    """
    try:
        yield
    except OSError as error:
        nameless = error.filename is None and error.errno in _FULL
        if not nameless and not str(error.filename).startswith(str(beginning)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


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
      UserError: another ending, something there that is no regular file, or a folder above it that
        cannot be made or written.
    """
    path = pathlib.Path(path)
    if ending is not None and path.suffix.lower() != ending:
        raise UserError(f"{path}: expected a file name that ends in {ending}")
    _require_file(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error


def _require_file(path: pathlib.Path) -> None:
    """Raises a UserError unless there is a file at `path`, or nothing, that may be replaced."""
    if path.exists() and not path.is_file():
        # Replacing a device such as /dev/null would take it away from all programs.
        kind = "a folder" if path.is_dir() else "no regular file"
        raise UserError(f"{path} is {kind}; expected a file to write")
