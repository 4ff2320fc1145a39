"""A data set of nothing but images, to test building by. In a module, so that it can be sent."""

import functools
import io

from PIL import Image

from data_prep.building import SegmentationBuilder
from data_prep.common import BuildPlan, Pair, read_image


@functools.cache
def _label() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (10, 8)).save(buffer, "PNG")
    return buffer.getvalue()


def make_example(pair):
    """The values of a record whose label is empty."""
    return {"image": read_image(pair.image)[0], "label": _label(), "name": pair.name}


class ToyBuilder(SegmentationBuilder, skip_registration=True):
    """All images of a folder as train, three of them as val."""

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
