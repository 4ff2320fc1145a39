"""A builder of images without labels. It is in a module so that processes can import it."""

import functools
import io

from PIL import Image

from data_prep.building import SegmentationBuilder
from data_prep.common import BuildPlan, Pair, read_encoded_image


@functools.cache
def _label() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (10, 8)).save(buffer, "PNG")
    return buffer.getvalue()


def make_example(pair):
    """Makes the values of a record with an empty label."""
    return {"image": read_encoded_image(pair.image)[0], "label": _label(), "name": pair.name}


class ToyBuilder(SegmentationBuilder, skip_registration=True):
    """A builder with all images of a folder as train and three of them as val."""

    is_published = False

    def __init__(self, *, folder, missing=None, **kwargs):
        self._folder = folder
        self._missing = missing or {}
        super().__init__(**kwargs)

    def _make_plan(self, dl_manager):
        pairs = tuple(Pair(path.stem, path, path) for path in sorted(self._folder.iterdir()))
        return BuildPlan(
            class_names=("a", "b"),
            class_colors=((0, 0, 0), (1, 2, 3)),
            splits={"train": pairs, "val": pairs[:3]},
            arguments={"folder": str(self._folder)},
            make_example=make_example,
            full_sizes={"train": 1000},
            missing=self._missing,
        )
