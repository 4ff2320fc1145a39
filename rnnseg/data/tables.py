"""Class tables of well-known data sets."""

import types
from collections.abc import Mapping

from rnnseg.data.classes import ClassTable, Color, table_from_rows
from rnnseg.data.source import IGNORE_LABEL
from rnnseg.palette import default_colors


def _split(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.replace("\n", " ").split(","))


# (labelId, name, colour), in the order of the trainIds.
_CITYSCAPES_CLASSES: tuple[tuple[int, str, Color], ...] = (
    (7, "road", (128, 64, 128)),
    (8, "sidewalk", (244, 35, 232)),
    (11, "building", (70, 70, 70)),
    (12, "wall", (102, 102, 156)),
    (13, "fence", (190, 153, 153)),
    (17, "pole", (153, 153, 153)),
    (19, "traffic light", (250, 170, 30)),
    (20, "traffic sign", (220, 220, 0)),
    (21, "vegetation", (107, 142, 35)),
    (22, "terrain", (152, 251, 152)),
    (23, "sky", (70, 130, 180)),
    (24, "person", (220, 20, 60)),
    (25, "rider", (255, 0, 0)),
    (26, "car", (0, 0, 142)),
    (27, "truck", (0, 0, 70)),
    (28, "bus", (0, 60, 100)),
    (31, "train", (0, 80, 100)),
    (32, "motorcycle", (0, 0, 230)),
    (33, "bicycle", (119, 11, 32)),
)
_CITYSCAPES_LABEL_IDS = range(34)
# The id of licence plates is -1, which is 255 in 8 bits.
_CITYSCAPES_LICENSE_PLATE = 255

CITYSCAPES = ClassTable(
    names=tuple(name for _, name, _ in _CITYSCAPES_CLASSES),
    colors=tuple(color for _, _, color in _CITYSCAPES_CLASSES),
    values=(
        dict.fromkeys([*_CITYSCAPES_LABEL_IDS, _CITYSCAPES_LICENSE_PLATE], IGNORE_LABEL)
        | {label_id: index for index, (label_id, _, _) in enumerate(_CITYSCAPES_CLASSES)}
    ),
    color_values=None,
)
"""The 19 classes of Cityscapes (trainIds) by labelIds, with the official names and colours."""

OXFORD_IIIT_PET = table_from_rows(
    [
        {"name": "pet", "index": 1, "color": (255, 128, 0)},
        {"name": "background", "index": 2, "color": (0, 0, 0)},
        {"name": "ignore", "index": 3},
    ],
    "oxford_iiit_pet",
)
"""The trimaps of Oxford-IIIT Pet; the border between pet and background is ignored."""

_ADE20K_NAMES = _split(
    """wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk,
    person, earth, door, table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf,
    house, sea, mirror, rug, field, armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub,
    railing, cushion, base, box, column, signboard, chest of drawers, counter, sand, sink,
    skyscraper, fireplace, refrigerator, grandstand, path, stairs, runway, case, pool table, pillow,
    screen door, stairway, river, bridge, bookcase, blind, coffee table, toilet, flower, book, hill,
    bench, countertop, stove, palm, kitchen island, computer, swivel chair, boat, bar,
    arcade machine, hovel, bus, towel, light, truck, tower, chandelier, awning, streetlight, booth,
    television, airplane, dirt track, apparel, pole, land, bannister, escalator, ottoman, bottle,
    buffet, poster, stage, van, ship, fountain, conveyer belt, canopy, washer, plaything,
    swimming pool, stool, barrel, basket, waterfall, tent, bag, minibike, cradle, oven, ball, food,
    step, tank, trade name, microwave, pot, animal, bicycle, lake, dishwasher, screen, blanket,
    sculpture, hood, sconce, vase, traffic light, tray, ashcan, fan, pier, crt screen, plate,
    monitor, bulletin board, shower, radiator, glass, clock, flag"""
)

ADE20K = table_from_rows(
    [{"name": "ignore"}, *({"name": name} for name in _ADE20K_NAMES)], "ade20k"
)
"""The 150 classes of ADE20K's scene parsing benchmark, 1 to 150 in its masks; 0 is unlabelled."""

_ADE20K_OBJECT_NAMES = _split(
    """bed, windowpane, cabinet, person, door, table, curtain, chair, car, painting, sofa, shelf,
    mirror, armchair, seat, fence, desk, wardrobe, lamp, bathtub, railing, cushion, box, column,
    signboard, chest of drawers, counter, sink, fireplace, refrigerator, stairs, case, pool table,
    pillow, screen door, bookcase, coffee table, toilet, flower, book, bench, countertop, stove,
    palm, kitchen island, computer, swivel chair, boat, arcade machine, bus, towel, light, truck,
    chandelier, awning, streetlight, booth, television receiver, airplane, apparel, pole, bannister,
    ottoman, bottle, van, ship, fountain, washer, plaything, stool, barrel, basket, bag, minibike,
    oven, ball, food, step, trade name, microwave, pot, animal, bicycle, dishwasher, screen,
    sculpture, hood, sconce, vase, traffic light, tray, ashcan, fan, plate, monitor, bulletin board,
    radiator, glass, clock, flag"""
)

ADE20K_OBJECTS = table_from_rows(
    [{"name": name} for name in ("background", *_ADE20K_OBJECT_NAMES)], "ade20k_objects"
)
"""The 100 object classes of ADE20K's instance segmentation benchmark, and a background."""

_VOC_NAMES = tuple(
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse "
    "motorbike person pottedplant sheep sofa train tvmonitor".split()
)
# The value of object borders and of difficult objects.
_VOC_VOID = 255

PASCAL_VOC = ClassTable(
    names=_VOC_NAMES,
    colors=default_colors(len(_VOC_NAMES)),
    values=({index: index for index in range(len(_VOC_NAMES))} | {_VOC_VOID: IGNORE_LABEL}),
    color_values=None,
)
"""The 20 classes of PASCAL VOC and the background, with the colours of its development kit."""

TABLES: Mapping[str, ClassTable] = types.MappingProxyType(
    {
        "ade20k": ADE20K,
        "ade20k_objects": ADE20K_OBJECTS,
        "cityscapes": CITYSCAPES,
        "oxford_iiit_pet": OXFORD_IIIT_PET,
        "pascal_voc": PASCAL_VOC,
    }
)
"""All tables by their names in description files."""
