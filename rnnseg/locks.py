"""Locks on files, which end with the process that holds them, even if it is killed."""

import contextlib
import errno
import logging
import os
import pathlib
import platform
from collections.abc import Iterator

from rnnseg.errors import UserError

try:
    import fcntl
except ImportError:  # not on Windows, where nothing is locked
    fcntl = None  # type: ignore[assignment]

_log = logging.getLogger(__name__)
_FOLDER_LOCK = ".lock"
# Errors of file systems without locks, and of some network shares for folders.
_NO_LOCKS = (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class NoLocksError(Exception):
    """The file system, or the system, has no locks."""


def try_lock(descriptor: int) -> bool:
    """Locks an open file or folder until it is closed by this process, or the process ends.

    Args:
      descriptor: of the file.

    Returns:
      False if it is locked by another process, or through another descriptor of this one.

    Raises:
      NoLocksError: there are no locks.
    """
    if fcntl is None:
        raise NoLocksError(f"{platform.system()} has no flock")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise NoLocksError(error.strerror) from error
    return True


@contextlib.contextmanager
def hold(path: str | os.PathLike, out: str | os.PathLike) -> Iterator[None]:
    """Holds a lock for the length of the block, so that one process at a time writes an output.

    Where the file system has no locks, a warning says so, and the block runs all the same.

    Args:
      path: the file of the lock, in an existing folder. It names the process that holds it, and is
        removed at the end; one that a killed process left behind is not in force.
      out: the output, for messages.

    Raises:
      UserError: another process holds the lock.
      OSError: the file cannot be written.
    """
    descriptor = _open_locked(pathlib.Path(path), out)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {platform.node()}".encode())
        yield
    finally:
        # It is removed while the lock is held: whoever has opened it meanwhile opens it anew.
        with contextlib.suppress(OSError):
            os.unlink(path)
        os.close(descriptor)


def hold_beside(
    path: str | os.PathLike, out: str | os.PathLike | None = None
) -> contextlib.AbstractContextManager[None]:
    """Holds a lock on an output that appears as a whole, by a hidden file beside it.

    Args:
      path: the file or the folder; the one above it exists.
      out: the output, for messages; None for the path.

    Raises:
      UserError: another process holds the lock.
      OSError: the folder cannot be written.
    """
    path = pathlib.Path(path)
    return hold(path.with_name(f".{path.name}.lock"), path if out is None else out)


@contextlib.contextmanager
def hold_folder(folder: str | os.PathLike) -> Iterator[None]:
    """Holds a lock on a folder that is written piece by piece, by a hidden file in it.

    A folder that does not exist is created, and removed if it is empty at the end.

    Args:
      folder: the folder.

    Raises:
      UserError: another process holds the lock, or the folder cannot be written.
    """
    folder = pathlib.Path(folder)
    new = [each for each in (folder, *folder.parents) if not each.exists()]
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is not a folder; expected a folder to write to")
    with contextlib.ExitStack() as stack:
        for each in reversed(new):
            stack.callback(_remove_if_empty, each)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(hold(folder / _FOLDER_LOCK, folder))
        except OSError as error:
            raise UserError(f"{folder} cannot be written: {error.strerror}") from error
        yield


def _remove_if_empty(folder: pathlib.Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def _open_locked(path: pathlib.Path, out: str | os.PathLike) -> int:
    """Opens and locks a file, which is created if it is missing."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not try_lock(descriptor):
                holder = os.read(descriptor, 300).decode(errors="replace") or "another process"
                raise UserError(
                    f"{out} is being written by {holder}: wait until it is done, end it, or choose "
                    "another output"
                )
            there = os.stat(path)
            if os.path.samestat(os.fstat(descriptor), there):
                return descriptor
        except FileNotFoundError:  # its holder has just removed it
            pass
        except NoLocksError as error:
            _log.warning(
                "%s: no lock (%s); make sure that no other process writes there", out, error
            )
            return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
