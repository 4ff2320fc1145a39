"""Temporary files and folders whose names tell which process writes them.

A process that is killed leaves them behind. The next one that writes into the same folder removes
them, once it is certain that their process is gone.
"""

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import platform
import re
import shutil
import tempfile

from rnnseg.locks import NoLocksError, try_lock

_NAME = re.compile(
    r"\.(?:incomplete|(?P<replaced>.+)\.replaced)"
    r"\.(?P<host>[0-9a-f]{8})-(?P<boot>[0-9a-f]{8})-(?P<process>\d+)-(?P<start>\d+)\.[^.]+(?:\..*)?",
    re.DOTALL,
)


@dataclasses.dataclass(frozen=True)
class Owner:
    """The process that writes a temporary file.

    Attributes:
      host: stands for the machine.
      boot: stands for the time for which its system runs, which containers on it share.
      process: the process id.
      start: the time at which the process began, since other processes get its id later; 0 where
        that is not known.
    """

    host: str
    boot: str
    process: int
    start: int

    @classmethod
    def this(cls) -> "Owner":
        """Returns the running process."""
        host = platform.node() + _read("/etc/machine-id")
        boot = _read("/proc/sys/kernel/random/boot_id") or host
        process = os.getpid()
        return cls(_short(host), _short(boot), process, _start(process) or 0)

    def __str__(self) -> str:
        return f"{self.host}-{self.boot}-{self.process}-{self.start}"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _read(path: str) -> str:
    """Returns the text of a file of the system, "" if there is none."""
    with contextlib.suppress(OSError):
        return pathlib.Path(path).read_text(errors="replace").strip()
    return ""


def _start(process: int) -> int | None:
    """Returns when a process began, in ticks of the clock; None for one that has ended."""
    # Behind the name, which is in brackets and may hold anything: the state, ..., the start.
    fields = _read(f"/proc/{process}/stat").rpartition(")")[2].split()
    return int(fields[19]) if len(fields) > 19 and fields[0] not in "ZX" else None


def _runs(owner: Owner) -> bool:
    """Returns True if the process of an owner is among those that this process sees."""
    if owner.start:
        return _start(owner.process) == owner.start
    try:
        os.kill(owner.process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        pass
    return True


class Temporary:
    """A new temporary file or folder, locked for as long as it is written.

    Args:
      home: the folder that it lies in.
      ending: of its name, such as ".png"; None for a folder.

    Attributes:
      path: the file or folder.
    """

    def __init__(self, home: pathlib.Path, ending: str | None = None):
        if ending is None:
            self.path = pathlib.Path(tempfile.mkdtemp(prefix=prefix(), dir=home))
            self._descriptor = _open_folder(self.path)
        else:
            self._descriptor, name = tempfile.mkstemp(prefix=prefix(), suffix=ending, dir=home)
            self.path = pathlib.Path(name)
        if self._descriptor is not None:
            with contextlib.suppress(NoLocksError):
                try_lock(self._descriptor)

    def remove(self) -> None:
        """Removes it, if it still has its name, and gives up its lock."""
        if self.path.is_dir():
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            self.path.unlink(missing_ok=True)
        if self._descriptor is not None:
            os.close(self._descriptor)


def prefix() -> str:
    """Returns how the names of the temporary files of this process begin."""
    return f".incomplete.{Owner.this()}."


def aside(path: pathlib.Path) -> pathlib.Path:
    """Returns a new name beside a folder, for the moment in which another one takes its place."""
    return path.with_name(f".{path.name}.replaced.{Owner.this()}.0")


def remove_left_behind(folder: str | os.PathLike) -> None:
    """Removes what killed processes left in a folder, and gives moved folders their names back.

    Whatever a living process writes stays, and so does what another machine has written to a shared
    folder, since nothing tells here whether its process lives.

    Args:
      folder: the folder; nothing happens if there is none, or it cannot be read.
    """
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        found = _NAME.fullmatch(name)
        path = pathlib.Path(folder, name)
        if not found or not _is_left(path, found):
            continue
        original = found["replaced"] and pathlib.Path(folder, found["replaced"])
        with contextlib.suppress(OSError):
            if original and not os.path.lexists(original):
                os.rename(path, original)
            elif path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def _is_left(path: pathlib.Path, found: re.Match) -> bool:
    """Returns True if the process that wrote a temporary file is gone for certain."""
    owner = Owner(found["host"], found["boot"], int(found["process"]), int(found["start"]))
    this = Owner.this()
    if owner.boot == this.boot:
        # In a container, the process may be one that is not seen here; then there is the lock.
        return not _runs(owner) and not _is_locked(path)
    return owner.host == this.host and not _is_locked(path)


def _is_locked(path: pathlib.Path) -> bool:
    """Returns True if a process holds a temporary file or folder open."""
    try:
        descriptor = _open_folder(path) if path.is_dir() else os.open(path, os.O_RDONLY)
    except OSError:
        return False
    if descriptor is None:
        return False
    try:
        return not try_lock(descriptor)
    except NoLocksError:
        return False
    finally:
        os.close(descriptor)


def _open_folder(path: pathlib.Path) -> int | None:
    """Opens a folder; None on systems where that is not possible."""
    with contextlib.suppress(OSError):
        return os.open(path, os.O_RDONLY)
    return None
