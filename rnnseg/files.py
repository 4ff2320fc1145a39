"""Files and folders that are written as a whole or not at all."""

import contextlib
import errno
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from rnnseg.errors import UserError

# Errors of a full disk or quota and of a size limit, which do not name the file.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yields a temporary path in the same folder and renames it to `path` if the block succeeds.

    A reader sees the old file or the new one, never a partly written one, even if the process is
    killed. The temporary name keeps the ending of `path`, since writers choose the format by it.

    Args:
      path: the file to write; missing folders are created.

    Yields:
      The path to write to.

    Raises:
      UserError: `path` exists and is not a regular file.
      OSError: the file cannot be written; the error names `path`.
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
    """Yields a temporary folder beside `path` and renames it to `path` if the block succeeds.

    After success, folders that killed processes left of earlier attempts are removed, too.

    Args:
      path: the folder to write, which must be new or empty when the block ends. Missing folders
        above it are created.

    Yields:
      The folder to write to.

    Raises:
      UserError: a new folder cannot be created at `path`, for example at a mount point. It is
        raised before the block runs.
      OSError: the folder cannot be written; the error names `path`.
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
    """Creates a folder that can be renamed to `target`, which messages call `path`."""
    if target.exists() and not target.is_dir():
        raise UserError(f"{path} is not a folder; expected a new or an empty folder")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            # Only an attempt shows whether it can be replaced; a mount point cannot.
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
    """Removes a folder. If interrupted, nothing remains under its name."""
    shutil.rmtree(_move_aside(pathlib.Path(path)))


def _move_aside(path: pathlib.Path) -> pathlib.Path:
    """Renames a folder to a hidden name beside it and returns that."""
    aside = pathlib.Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        os.replace(path, aside)
    except OSError:
        aside.rmdir()
        raise
    return aside


def _publish(temporary: pathlib.Path, path: pathlib.Path, mode: int) -> None:
    """Renames to the final name and sets the mode that open() or mkdir() would have set."""
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(mode & ~umask)
    os.replace(temporary, path)


@contextlib.contextmanager
def _named(path, beginning: pathlib.Path) -> Iterator[None]:
    """Makes errors of writing name `path` instead of a temporary file or of no file at all.

    Errors of other files, such as files that the block reads, stay as they are.
    """
    try:
        yield
    except OSError as error:
        nameless = error.filename is None and error.errno in _FULL
        if not nameless and not str(error.filename).startswith(str(beginning)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def beside(model: str | os.PathLike, name: str) -> pathlib.Path:
    """Returns the path of a file that belongs to a model.

    Args:
      model: the folder of a run, or the file of a model.
      name: the name of the file, such as "curve.png".

    Returns:
      `RUN/curve.png`, or `MODEL.curve.png` beside `MODEL.keras`.
    """
    model = pathlib.Path(model)
    return model / name if model.is_dir() else model.with_name(f"{model.stem}.{name}")


def check_writable(path: str | os.PathLike, ending: str | None = None) -> None:
    """Checks that a file can be written, before the work that produces its contents.

    Args:
      path: the file.
      ending: the required ending of its name, such as ".png"; None for any.

    Raises:
      UserError: the name ends otherwise, `path` exists and is not a regular file, or a folder above
        it cannot be created or written.
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
    """Raises a UserError if `path` exists and is not a regular file, which must not be replaced."""
    if path.exists() and not path.is_file():
        # Replacing a device such as /dev/null would remove it for all programs.
        kind = "a folder" if path.is_dir() else "not a regular file"
        raise UserError(f"{path} is {kind}; expected a file to write")
