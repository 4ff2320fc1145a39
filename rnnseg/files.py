"""Files and folders that are written as a whole or not at all."""

import contextlib
import ctypes
import errno
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from rnnseg import temporaries
from rnnseg.errors import UserError
from rnnseg.locks import hold_beside
from rnnseg.temporaries import Temporary, remove_left_behind

# Errors of a full disk or quota and of a size limit, which do not name the file.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Arguments of renameat2, see its manual page.
_PRESENT_FOLDER, _RENAME_EXCHANGE = -100, 2


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yields a temporary path in the same folder and renames it to `path` if the block succeeds.

    A reader sees the old file or the new one, never a partly written one, even if the process is
    killed. The temporary name keeps the ending of `path`, since writers choose the format by it.
    What killed processes leave behind, `check_writable` and `remove_left_behind` remove.

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
    home = pathlib.Path(os.path.abspath(path.parent))
    with _named(path, home / temporaries.prefix()):
        home.mkdir(parents=True, exist_ok=True)
        temporary = Temporary(home, path.suffix)
        try:
            yield temporary.path
            _set_mode(temporary.path, 0o666)
            os.replace(temporary.path, home / path.name)
        finally:
            temporary.remove()


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike, replace: bool = False) -> Iterator[pathlib.Path]:
    """Yields a temporary folder beside `path` and renames it to `path` if the block succeeds.

    A reader sees the old folder or the new one. Where the file system can exchange two folders
    (most of Linux), this holds at every moment, and if the process is killed. Elsewhere there is a
    moment with neither of them, and the next call that begins gives the old one its name back.

    A lock keeps other processes from writing `path` meanwhile. What killed processes left beside
    it is removed.

    Args:
      path: the folder to write, which must be new or empty when the block ends, unless `replace`.
        Missing folders above it are created.
      replace: True to replace a folder with contents.

    Yields:
      The folder to write to.

    Raises:
      UserError: a new folder cannot be created at `path`, for example at a mount point; or another
        process writes there. It is raised before the block runs.
      OSError: the folder cannot be written; the error names `path`.
    """
    target = pathlib.Path(os.path.realpath(path))
    with contextlib.ExitStack() as stack:
        temporary = _make_beside(path, target, stack)
        with _named(path, temporary):
            yield temporary
            _set_mode(temporary, 0o777)
            if replace and target.exists():
                _replace(target, temporary)
            else:
                os.replace(temporary, target)


def _make_beside(
    path: str | os.PathLike, target: pathlib.Path, stack: contextlib.ExitStack
) -> pathlib.Path:
    """Creates a folder that can be renamed to `target`, which messages call `path`."""
    if target.exists() and not target.is_dir():
        raise UserError(f"{path} is not a folder; expected a new or an empty folder")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        stack.enter_context(hold_beside(target, path))
        remove_left_behind(target.parent)
        if target.exists():
            _try_to_replace(target)
        temporary = Temporary(target.parent)
    except OSError as error:
        if not target.is_dir():
            raise UserError(f"{path} cannot be written: {error.strerror}") from error
        raise UserError(
            f"{path} cannot be replaced as a whole ({error.strerror}): choose a new folder in it, "
            f"such as {pathlib.Path(path, 'new')}"
        ) from error
    stack.callback(temporary.remove)
    return temporary.path


def _try_to_replace(target: pathlib.Path) -> None:
    """Raises an OSError if another folder cannot be renamed to `target`, as at a mount point.

    Only an attempt shows it. A folder with contents is refused at the end of an attempt, and stays.
    """
    probe = Temporary(target.parent)
    try:
        _set_mode(probe.path, 0o777)
        os.replace(probe.path, target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    finally:
        probe.remove()


def _replace(target: pathlib.Path, new: pathlib.Path) -> None:
    """Renames a folder to the name of another one, which is removed."""
    if _exchange(target, new):
        shutil.rmtree(new)
        return
    old = temporaries.aside(target)
    os.rename(target, old)
    try:
        os.rename(new, target)
    except OSError:
        os.rename(old, target)
        raise
    shutil.rmtree(old)


def _exchange(one: pathlib.Path, other: pathlib.Path) -> bool:
    """Exchanges the names of two folders at once; False where that is not possible."""
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # another system, or another library of C
        return False
    paths = (_PRESENT_FOLDER, os.fsencode(one), _PRESENT_FOLDER, os.fsencode(other))
    if call(*paths, _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):  # not on this file system
        return False
    raise OSError(number, os.strerror(number), str(one))


def remove_folder(path: str | os.PathLike) -> None:
    """Removes a folder. If interrupted, nothing remains under its name."""
    path = pathlib.Path(os.path.abspath(path))
    hidden = Temporary(path.parent)
    try:
        os.replace(path, hidden.path)
    finally:
        hidden.remove()


def _set_mode(path: pathlib.Path, mode: int) -> None:
    """Sets the mode that open() or mkdir() would have set."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(mode & ~umask)


@contextlib.contextmanager
def _named(path: str | os.PathLike, beginning: pathlib.Path) -> Iterator[None]:
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
      model: the folder of a run, the file of a model, or the name of a preset.
      name: the name of the file, such as "curve.png".

    Returns:
      `RUN/curve.png`, or `MODEL.curve.png` beside `MODEL.keras`; for a name, in the present folder.
    """
    _, is_remote, rest = os.fspath(model).rpartition("://")
    model = pathlib.Path(rest.partition("@")[0].rpartition("/")[2] if is_remote else model)
    return model / name if model.is_dir() else model.with_name(f"{model.stem}.{name}")


def check_writable(path: str | os.PathLike, ending: str | None = None) -> None:
    """Checks that a file can be written, before the work that produces its contents.

    Temporary files that killed processes left in its folder are removed.

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
        remove_left_behind(path.parent)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error


def _require_file(path: pathlib.Path) -> None:
    """Raises a UserError if `path` exists and is not a regular file, which must not be replaced."""
    if path.exists() and not path.is_file():
        # Replacing a device such as /dev/null would remove it for all programs.
        kind = "a folder" if path.is_dir() else "not a regular file"
        raise UserError(f"{path} is {kind}; expected a file to write")
