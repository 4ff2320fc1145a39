"""Masks from Cityscapes' polygons, drawn by Cityscapes' own scripts."""

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
      pair: a pair whose mask is a `*_polygons.json`.
      size: the (width, height) of the image.

    Returns:
      The label ids, uint8 `(h, w)`, and the instance ids, uint16 `(h, w)`. An instance id is
      `1000 * label id + number` for countable objects and the label id for all else. License
      plates are not drawn, since their id is negative.

    Raises:
      UserError: the file is damaged, has a label that Cityscapes does not have or is for another
        size, or cityscapesscripts is not installed.
    """
    scripts = load_scripts()
    try:
        annotation = scripts.Annotation()
        annotation.fromJsonText(pair.mask.read_bytes())
        # Checked before arrays of the size in the file are allocated.
        require_same_size(pair, size, (annotation.imgWidth, annotation.imgHeight))
        for shape in annotation.objects:
            if not shape.deleted:
                _check_shape(pair, shape, scripts.name2label)
        label_ids = scripts.createLabelImage(annotation, "ids")
        instance_ids = scripts.createInstanceImage(annotation, "ids")
    except UserError:
        raise  # a UserError is a ValueError, too
    except OSError as error:
        raise UserError(f"{pair.mask}: cannot be read ({error}); replace the file") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{pair.mask}: not valid JSON ({error}); replace the file") from error
    # The scripts raise one of these if a part of the file is missing or has another type.
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise UserError(
            f"{pair.mask}: does not hold polygons as in Cityscapes ({error!r}); replace the file"
        ) from error
    return np.asarray(label_ids), np.asarray(instance_ids).astype(np.uint16)


def load_scripts() -> types.SimpleNamespace:
    """Imports the required parts of cityscapesscripts.

    Raises:
      UserError: cityscapesscripts is not installed.
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
    """Raises a UserError for shapes at which the scripts would print or exit the process."""
    # The label of a group is the label of its members with "group" appended, such as cargroup.
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
