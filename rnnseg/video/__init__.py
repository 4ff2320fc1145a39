"""Video: every frame goes on from what was seen in the one before."""

import contextlib
from collections.abc import Iterator

from rnnseg.errors import UserError


@contextlib.contextmanager
def libraries() -> Iterator[None]:
    """Says how to install what the imports in its block miss.

    Raises:
      UserError: PyAV or OpenCV is not there.
    """
    try:
        yield
    except ImportError as error:
        if error.name not in ("av", "cv2"):
            raise
        raise UserError(
            f"video needs the package {error.name}, which is not installed: "
            "pip install 'rnnseg[video]'"
        ) from error
