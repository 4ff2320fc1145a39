"""The integrity of exported files, checked before LiteRT reads them.

LiteRT trusts a flat buffer: with a damaged one it may fail anywhere, give wrong class maps, or end
the process. So `rnnseg export` writes the SHA-256 of the flat buffer into the metadata behind it.
Of a file of an earlier version, which has none, the structure and the weights are checked.
"""

import hashlib
import os
import zipfile

from rnnseg.errors import UserError


def checksum(model: bytes) -> str:
    """Returns the SHA-256 of a flat buffer, 64 hexadecimal digits."""
    return hashlib.sha256(model).hexdigest()


def check_file(path: str | os.PathLike, expected: str | None) -> None:
    """Checks that a file is as it was written.

    Args:
      path: a `.tflite` file with metadata.
      expected: the checksum in its metadata; None for a file of an earlier version.

    Raises:
      UserError: the file cannot be read, was changed, or holds weights that are not finite.
    """
    try:
        model = _flat_buffer(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if expected is None:
        from rnnseg.runtime.structure import find_fault  # loads the whole schema of LiteRT

        fault = find_fault(model)
    else:
        fault = None
        if checksum(model) != expected:
            fault = "its contents differ from the checksum (SHA-256) in its metadata"
    if fault is not None:
        raise UserError(f"{path} is damaged: {fault}; copy it again, or export the model again")


def _flat_buffer(path: str | os.PathLike) -> bytes:
    """Returns what stands in a file before its metadata."""
    with open(path, "rb") as file:
        with zipfile.ZipFile(file) as archive:
            end = min(member.header_offset for member in archive.infolist())
        file.seek(0)
        return file.read(end)
