"""Video segmentation, in which every frame continues from the frame before."""

import contextlib
from collections.abc import Iterator

from rnnseg.errors import UserError


@contextlib.contextmanager
def libraries() -> Iterator[None]:
    """Turns a failed import of a video library in its block into advice how to install it.

    Raises:
      UserError: PyAV or OpenCV is not installed.
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
