import array
import json

import numpy as np
import pytest
from pycocotools import mask as coco_masks

from data_prep.plans.coco_instances import Region, draw_labels, read_instances
from rnnseg.data.source import IGNORE_LABEL
from rnnseg.errors import UserError

SIZE = (40, 30)  # width, height
WIDTH, HEIGHT = SIZE


def _polygon(*points):
    return array.array("d", [value for point in points for value in point])


def _rectangle(left, top, right, bottom):
    return _polygon((left, top), (right, top), (right, bottom), (left, bottom))


def _draw(*regions):
    return draw_labels([Region(7, label, what) for label, what in regions], SIZE, "some.json")


def _runs(mask):
    """Returns the runs of a mask, counted pixel by pixel."""
    runs, value = [0], 0
    for pixel in np.asarray(mask).T.ravel():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


def test_rectangles_have_their_pixels():
    expected = np.zeros((HEIGHT, WIDTH), int)
    expected[3:9, 5:20] = 4
    expected[0:2, 38:40] = 4  # in the corner, extends past the edge
    expected[10:30, 0:10] = 6
    labels = _draw(
        (4, [_rectangle(5, 3, 20, 9), _rectangle(38, -3, 43, 2)]),
        (6, [_rectangle(0, 10, 10, 30)]),
    )
    assert labels.dtype == np.uint8 and labels.flags.c_contiguous
    np.testing.assert_array_equal(labels, expected)


def test_polygons_are_filled_apart_from_their_edges():
    # A star, with a concave corner between neighbouring tips.
    angles = np.linspace(0, 2 * np.pi, 10, endpoint=False)
    radii = np.where(np.arange(10) % 2, 6, 14)
    corners = np.stack([20 + radii * np.cos(angles), 15 + radii * np.sin(angles)], 1).round(2)
    labels = _draw((3, [_polygon(*corners)]))
    # A pixel is inside if a ray to the right of its centre crosses an odd number of edges.
    x, y = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    inside = np.zeros(x.shape, bool)
    distance = np.full(x.shape, np.inf)
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, 0), strict=True):
        crosses = (y1 > y) != (y2 > y)
        inside ^= crosses & (x < x1 + (y - y1) * (x2 - x1) / (y2 - y1))
        along = ((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / ((x2 - x1) ** 2 + (y2 - y1) ** 2)
        along = np.clip(along, 0, 1)
        distance = np.minimum(
            distance, np.hypot(x - x1 - along * (x2 - x1), y - y1 - along * (y2 - y1))
        )
    sure = distance > 0.75
    assert 100 < (inside & sure).sum() and sure.mean() > 0.8
    np.testing.assert_array_equal((labels == 3)[sure], inside[sure])


@pytest.mark.parametrize("kind", ["list", "array", "compressed"])
def test_runs(kind):
    generator = np.random.default_rng(0)
    for index, share in enumerate((0, 0.05, 0.5, 1)):
        mask = (generator.random((HEIGHT, WIDTH)) < share).astype(np.uint8)
        mask[:, 10:30] = index % 2  # long runs, with differences of both signs after them
        counts = _runs(mask)
        if kind == "array":
            counts = array.array("I", counts)
        elif kind == "compressed":
            counts = coco_masks.encode(np.asfortranarray(mask))["counts"].decode()
        labels = _draw((9, {"size": [HEIGHT, WIDTH], "counts": counts}))
        np.testing.assert_array_equal(labels, 9 * mask)


def test_smaller_instances_are_on_top_and_crowds_below():
    large, small, crowd = (0, 0, 20, 20), (10, 10, 24, 20), (5, 0, 40, 15)
    expected = np.zeros((HEIGHT, WIDTH), int)
    for label, (left, top, right, bottom) in ((255, crowd), (11, large), (5, small)):
        expected[top:bottom, left:right] = label
    regions = [(11, [_rectangle(*large)]), (5, [_rectangle(*small)])]
    regions += [(IGNORE_LABEL, [_rectangle(*crowd)])]
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        np.testing.assert_array_equal(_draw(*(regions[index] for index in order)), expected)


def test_regions_without_area_have_no_pixels():
    # The last one is in COCO's own files.
    flat = [(296.65, 8.33), (296.65, 8.33), (297.68, 8.33), (297.68, 8.33)]
    point, line = _polygon((3, 3)), _polygon((1, 1), (9, 9))
    for polygons in ([], [point], [line], [_polygon(*((x / 10, y) for x, y in flat))]):
        assert not _draw((1, polygons)).any()
    np.testing.assert_array_equal(
        _draw((1, [line, _rectangle(1, 2, 3, 4)])), _draw((1, [_rectangle(1, 2, 3, 4)]))
    )
    assert not draw_labels([], SIZE, "some.json").any()


@pytest.mark.parametrize(
    "segmentation, message",
    [
        ([array.array("d", [1, 2, 3, 4, 5, 6, 7])], "a polygon of 7 numbers"),
        ([_rectangle(0, 0, 1e9, 5)], "a polygon far outside of its image of 30x40"),
        ([_rectangle(0, 0, float("nan"), 5)], "a polygon far outside"),
        ([["1", "2", "3"]], "neither polygons nor"),
        ([None], "neither polygons nor"),
        (None, "neither polygons nor"),
        ({"counts": [1200]}, "a size of None, expected [30, 40]"),
        ({"size": [40, 30], "counts": [1200]}, "a size of [40, 30], expected [30, 40]"),
        ({"size": [30, 40]}, "has no counts"),
        ({"size": [30, 40], "counts": ["x"]}, "has no counts"),
        ({"size": [30, 40], "counts": []}, "runs of 0 pixels, expected 1200"),
        ({"size": [30, 40], "counts": [100, 1000]}, "runs of 1100 pixels, expected 1200"),
        ({"size": [30, 40], "counts": [100, 2000]}, "runs of 2100 pixels, expected 1200"),
        ({"size": [30, 40], "counts": [1300, -100]}, "a run of -100 pixels"),
        ({"size": [30, 40], "counts": "1"}, "runs of 1 pixels, expected 1200"),
        ({"size": [30, 40], "counts": "PPP"}, "end within a number"),
        ({"size": [30, 40], "counts": "1 1"}, "' ' in its compressed counts"),
    ],
)
def test_invalid_segmentations_are_named(segmentation, message):
    with pytest.raises(UserError) as error:
        _draw((1, [_rectangle(1, 1, 5, 5)]), (1, segmentation))
    assert str(error.value).startswith("some.json, annotation 7: ")
    assert message in str(error.value) and "--skip-bad" in str(error.value)


def _content(**changes):
    annotation = {
        "id": 51,
        "image_id": 1,
        "category_id": 17,
        "area": 90.5,
        "iscrowd": 0,
        "bbox": [5, 3, 15, 6],
        "segmentation": [[5, 3, 20, 3, 20.25, 9, 5, 9]],
    }
    crowd = {"size": [30, 40], "counts": [1, 2, 1197]}
    content = {
        "info": {"year": 2017},
        "images": [
            {"id": 2, "file_name": "b.jpg", "width": 9, "height": 8, "license": 1},
            {"id": 1, "file_name": "a.jpg", "width": 40, "height": 30, "license": 1},
        ],
        "annotations": [
            annotation,
            {**annotation, "id": 52, "category_id": 3},
            {**annotation, "id": 53, "iscrowd": 1, "segmentation": crowd},
            {**annotation, "id": 54, "category_id": 5, "area": 10},
        ],
        "categories": [
            {"id": 3, "name": "kite"},
            {"id": 5, "name": "dog"},
            {"id": 17, "name": "cat"},
        ],
    }
    for place, value in changes.items():
        key, _, rest = place.partition("__")
        if not rest:
            content[key] = value
        else:
            content[key][0][rest] = value
    return content


LABELS = {"cat": 8, "dog": 12}


def test_reading(tmp_path, capsys):
    file = tmp_path / "instances.json"
    file.write_text(json.dumps(_content()))
    first, second = read_instances(file, LABELS)
    assert (first.file_name, first.size, first.regions, first.area) == ("b.jpg", (9, 8), (), 0)
    assert (second.file_name, second.size, second.area) == ("a.jpg", (40, 30), 100.5)
    assert [(region.id, region.label) for region in second.regions] == [
        (51, 8),
        (53, IGNORE_LABEL),
        (54, 12),
    ]
    assert [list(p) for p in second.regions[0].segmentation] == [[5, 3, 20, 3, 20.25, 9, 5, 9]]
    assert list(second.regions[1].segmentation["counts"]) == [1, 2, 1197]
    assert f"reading {file}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"annotations__image_id": 3}, "annotation 51: its image 3 is not in the file"),
        ({"annotations__image_id": None}, "annotation 51: its image_id is None, expected a whole"),
        ({"annotations__category_id": [4]}, "annotation 51: its category_id is [4], expected a"),
        (
            {"categories": [{"id": [1], "name": "cat"}]},
            "a category with the id [1] and the name 'c",
        ),
        ({"categories": [{"id": 17}]}, "a category with the id 17 and the name None, expected"),
        ({"annotations__category_id": 4}, "annotation 51: its category 4 is not in the file"),
        ({"annotations__area": None}, "annotation 51: its area is None"),
        ({"images__id": 1}, "several images with the id 1"),
        ({"images__file_name": "a.jpg"}, "several images with the file_name a.jpg"),
        ({"images__height": None}, "'b.jpg' is Nonex9"),
        ({"images": None}, "the list of images is missing or invalid"),
        ({"annotations": [{"image_id": 1, "caption": "A cat"}]}, "the list of annotations"),
        ({"categories": [{"id": 17, "name": "cat"}]}, "no category called dog"),
    ],
)
def test_inconsistent_files_are_named(tmp_path, changes, message):
    file = tmp_path / "instances.json"
    file.write_text(json.dumps(_content(**changes)))
    with pytest.raises(UserError) as error:
        read_instances(file, LABELS)
    assert str(error.value).startswith(str(file)) and message in str(error.value)


def test_an_invalid_polygon_is_an_error_when_it_is_drawn(tmp_path):
    file = tmp_path / "instances.json"
    file.write_text(json.dumps(_content(annotations__segmentation=[["1", 2]])))
    image = read_instances(file, LABELS)[1]
    with pytest.raises(UserError, match="annotation 51: its segmentation"):
        draw_labels(image.regions, image.size, str(file))


@pytest.mark.parametrize("text", ["", "[1]", "null", '{"images": [', "\ufeff{", "[" * 100_000])
def test_files_that_are_not_json(tmp_path, text):
    file = tmp_path / "instances.json"
    file.write_text(text)
    with pytest.raises(UserError) as error:
        read_instances(file, LABELS)
    assert str(error.value).startswith(str(file))
    file.write_bytes(json.dumps(_content()).encode()[:-5] + b"\xff\xfe\xff")
    with pytest.raises(UserError, match="not valid JSON"):
        read_instances(file, LABELS)


def test_coordinates_keep_their_precision(tmp_path):
    # For tenths, the rounding of COCO's code depends on the last bits.
    values = [number / 10 for number in range(400)]
    content = _content(annotations__segmentation=[values])
    file = tmp_path / "instances.json"
    file.write_text(json.dumps(content))
    region = read_instances(file, LABELS)[1].regions[0]
    assert list(region.segmentation[0]) == values
