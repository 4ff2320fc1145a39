"""Cityscapes' polygons as masks, drawn by its own scripts."""

import itertools
import json
import math
import types

import numpy as np

from rnnseg.errors import UserError

from ..common import Pair
from ..examples import require_same_size


def draw_polygons(pair: Pair, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Draws the masks that Cityscapes calls labelIds and instanceIds.

    Args:
      pair: its mask is a `*_polygons.json`.
      size: of the image, (width, height).

    Returns:
      The label ids, uint8 `(h, w)`, and the instance ids, uint16 `(h, w)`: `1000 * label id +
      number` of what is counted, the label id of all else. License plates are not drawn: their id
      is negative.

    Raises:
      UserError: the file is damaged, has a label that Cityscapes does not have or is of another
        size, or cityscapesscripts is not installed.
    """
    scripts = load_scripts()
    try:
        annotation = scripts.Annotation()
        annotation.fromJsonText(pair.mask.read_bytes())
        # Before anything of the size that the file claims is made.
        require_same_size(pair, size, (annotation.imgWidth, annotation.imgHeight))
        for shape in annotation.objects:
            if not shape.deleted:
                _check_shape(pair, shape, scripts.name2label)
        label_ids = scripts.createLabelImage(annotation, "ids")
        instance_ids = scripts.createInstanceImage(annotation, "ids")
    except UserError:
        raise  # which is a ValueError as well
    except OSError as error:
        raise UserError(f"{pair.mask}: cannot be read ({error}); replace the file") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{pair.mask}: not valid JSON ({error}); replace the file") from error
    # Wherever in the file something is missing or of another type, one of these comes up.
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise UserError(
            f"{pair.mask}: no polygons as Cityscapes stores them ({error!r}); replace the file"
        ) from error
    return np.asarray(label_ids), np.asarray(instance_ids).astype(np.uint16)


def load_scripts() -> types.SimpleNamespace:
    """What is needed of cityscapesscripts.

    Raises:
      UserError: it is not installed.
    """
    try:
        from cityscapesscripts.helpers.annotation import Annotation
        from cityscapesscripts.helpers.labels import name2label
        from cityscapesscripts.preparation.json2instanceImg import createInstanceImage
        from cityscapesscripts.preparation.json2labelImg import createLabelImage
    except ImportError as error:
        raise UserError(
            "drawing labels from polygons needs cityscapesscripts: pip install rnnseg[data] "
            f"({error})"
        ) from error
    return types.SimpleNamespace(
        Annotation=Annotation,
        name2label=name2label,
        createInstanceImage=createInstanceImage,
        createLabelImage=createLabelImage,
    )


def _check_shape(pair: Pair, shape, known_labels) -> None:
    """Raises a UserError for what the scripts would print a message about, or end the process."""
    # A group is called after what it is a group of, such as cargroup.
    if not {shape.label, shape.label.removesuffix("group")} & known_labels.keys():
        raise UserError(
            f"{pair.mask}: a polygon labelled {shape.label!r}, which is none of Cityscapes' "
            "labels; replace the file"
        )
    numbers = list(itertools.chain.from_iterable(shape.polygon))
    if len(shape.polygon) < 2 or not all(map(math.isfinite, numbers)):
        raise UserError(
            f"{pair.mask}: the polygon of a {shape.label!r} has {len(shape.polygon)} points, "
            f"{numbers[:6]}, expected 2 or more of two numbers each; replace the file"
        )
