"""Files that are either whole or not there."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator


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
        # mkstemp makes private files; give the mode that open() would have given.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
