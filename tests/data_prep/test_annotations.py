import base64
import io
import json
import unicodedata
import zlib

import numpy as np
import pytest
from PIL import Image

from data_prep.plans.folder import plan_folder
from rnnseg.errors import UserError

SIZE = (12, 9)  # width, height
SQUARE = [[2, 3], [6, 3], [6, 7], [2, 7]]


def _png(pixels, **options):
    buffer = io.BytesIO()
    Image.fromarray(np.uint8(pixels)).save(buffer, "PNG", **options)
    return buffer.getvalue()


def _labelme(*shapes, **others):
    shapes = [
        {"label": label, "points": points, "shape_type": kind, **more}
        for label, kind, points, more in shapes
    ]
    return {"shapes": shapes, "imageWidth": SIZE[0], "imageHeight": SIZE[1], **others}


def _supervisely(*objects):
    return {"size": {"width": SIZE[0], "height": SIZE[1]}, "objects": list(objects)}


def _polygon(name, exterior, *interior):
    points = {"exterior": exterior, "interior": list(interior)}
    return {"classTitle": name, "geometryType": "polygon", "points": points}


def _plan(tmp_path, content, classes="background\nroad\ncar\n", **options):
    Image.new("RGB", SIZE).save(tmp_path / "a.jpg")
    masks = tmp_path
    if "images" in content:
        masks = tmp_path / "coco.json"
        masks.write_text(json.dumps(content))
    else:
        (tmp_path / "a.json").write_text(json.dumps(content))
    (tmp_path / "classes.txt").write_text(classes)
    return plan_folder(images=tmp_path, masks=masks, classes=tmp_path / "classes.txt", **options)


def _labels(*arguments, **options):
    plan = _plan(*arguments, **options)
    (pair,) = plan.splits["train"]
    return np.asarray(Image.open(io.BytesIO(plan.make_example(pair)["label"])))


def _expected(label=1, background=0):
    expected = np.full(SIZE[::-1], background)
    expected[3:8, 2:7] = label
    return expected


@pytest.mark.parametrize(
    "shape",
    [
        ("road", "polygon", SQUARE, {}),
        ("road", None, SQUARE, {}),
        ("road", "rectangle", [[6, 7], [2, 3]], {}),
        ("road", "rectangle", SQUARE, {}),
        (
            "road",
            "mask",
            [[2, 3], [6, 7]],
            {"mask": base64.b64encode(_png(np.ones((5, 5)))).decode()},
        ),
        (
            "road",
            "mask",
            [[2, 3], [6, 7]],
            {"mask": base64.b64encode(_png(np.full((5, 5, 3), (0, 0, 9)))).decode()},
        ),
    ],
)
def test_shapes_of_labelme(tmp_path, capsys, shape):
    np.testing.assert_array_equal(_labels(tmp_path, _labelme(shape)), _expected())
    assert "outlines of labelme for 1 images; pixels outside of all outlines are background" in (
        capsys.readouterr().err
    )


def test_a_circle_of_labelme(tmp_path):
    labels = _labels(tmp_path, _labelme(("car", "circle", [[5, 4], [8, 4]], {})))
    rows, columns = np.indices(labels.shape)
    distance = np.hypot(rows - 4, columns - 5)
    assert (labels[distance < 2.5] == 2).all() and (labels[distance > 3.5] == 0).all()


def test_names_of_labelme_and_supervisely_are_composed(tmp_path):
    name = unicodedata.normalize("NFD", "r\u00fce")
    for content in (_labelme((name, "polygon", SQUARE, {})), _supervisely(_polygon(name, SQUARE))):
        labels = _labels(tmp_path, content, classes="background\nr\u00fce\ncar\n")
        np.testing.assert_array_equal(labels, _expected())


def test_later_shapes_are_on_top(tmp_path):
    wide = [[0, 0], [11, 0], [11, 8], [0, 8]]
    shapes = [("car", "polygon", wide, {}), ("road", "polygon", SQUARE, {})]
    np.testing.assert_array_equal(_labels(tmp_path, _labelme(*shapes)), _expected(1, 2))
    labels = _labels(tmp_path, _labelme(*shapes[::-1]))
    assert (labels == 2).all()


def test_shapes_of_supervisely(tmp_path):
    hole = [[3, 4], [5, 4], [5, 6], [3, 6]]
    expected = _expected()
    expected[4:7, 3:6] = 0
    content = _supervisely(_polygon("road", SQUARE, hole))
    np.testing.assert_array_equal(_labels(tmp_path, content), expected)
    # A hole shows what lies below.
    below = _polygon("car", [[0, 0], [11, 0], [11, 8], [0, 8]])
    expected[expected == 0] = 2
    content = _supervisely(below, _polygon("road", SQUARE, hole))
    np.testing.assert_array_equal(_labels(tmp_path, content), expected)


@pytest.mark.parametrize("options", [{}, {"transparency": 0}])
def test_bitmaps_of_supervisely(tmp_path, options):
    pixels = np.ones((5, 5))
    pixels[2, 2] = 0
    data = base64.b64encode(zlib.compress(_png(pixels, **options))).decode()
    content = _supervisely(
        {
            "classTitle": "road",
            "geometryType": "bitmap",
            "bitmap": {"origin": [2, 3], "data": data},
        }
    )
    expected = _expected()
    expected[5, 4] = 0
    np.testing.assert_array_equal(_labels(tmp_path, content), expected)


def _coco(segmentation, **others):
    annotation = {"id": 1, "image_id": 5, "category_id": 3, "segmentation": segmentation}
    return {
        "images": [{"id": 5, "file_name": "photos/a.jpg", "width": SIZE[0], "height": SIZE[1]}],
        "annotations": [annotation | others],
        "categories": [{"id": 3, "name": "road"}, {"id": 4, "name": "unused"}],
    }


def test_outlines_and_runs_of_coco(tmp_path):
    pytest.importorskip("pycocotools")
    outline = [[2, 3, 7, 3, 7, 8, 2, 8]]  # corners of pixels
    labels = _labels(tmp_path, _coco(outline))
    np.testing.assert_array_equal(labels, _expected())
    columns = _expected().T.ravel()  # column by column
    changes = np.flatnonzero(np.diff(columns)) + 1
    counts = np.diff([0, *changes, len(columns)]).tolist()
    runs = {"size": list(SIZE[::-1]), "counts": counts}
    np.testing.assert_array_equal(_labels(tmp_path, _coco(runs)), labels)
    np.testing.assert_array_equal(_labels(tmp_path, _coco(runs, iscrowd=1)), _expected(255))


def test_pixels_outside_are_ignored_without_a_background(tmp_path, capsys):
    content = _labelme(("road", "polygon", SQUARE, {}))
    labels = _labels(tmp_path, content, "road\ncar\n")
    np.testing.assert_array_equal(labels, _expected(0, 255))
    assert "ignored, since no class is called background" in capsys.readouterr().err


def test_names_that_are_remapped_or_ignored(tmp_path):
    content = _labelme(("lorry", "polygon", SQUARE, {}))
    labels = _labels(tmp_path, content, remap=["lorry=car"])
    np.testing.assert_array_equal(labels, _expected(2))
    np.testing.assert_array_equal(_labels(tmp_path, content, ignore=["lorry"]), _expected(255))
    content = _labelme(("__ignore__", "polygon", SQUARE, {}))
    np.testing.assert_array_equal(_labels(tmp_path, content), _expected(255))


def test_labelme_may_leave_out_the_size(tmp_path):
    content = _labelme(("road", "polygon", SQUARE, {}), imageWidth=None, imageHeight=None)
    np.testing.assert_array_equal(_labels(tmp_path, content), _expected())


@pytest.mark.parametrize("is_upright", [True, False])
def test_images_that_are_stored_turned(tmp_path, is_upright):
    content = _labelme(("road", "polygon", SQUARE, {}))
    plan = _plan(tmp_path, content)
    exif = Image.Exif()
    exif[0x0112] = 6
    size = SIZE[::-1] if is_upright else SIZE
    Image.new("RGB", size).save(tmp_path / "a.jpg", exif=exif)
    example = plan.make_example(plan.splits["train"][0])
    image, labels = (np.asarray(Image.open(io.BytesIO(example[key]))) for key in ("image", "label"))
    assert image.shape[:2] == labels.shape
    # To be seen upright, the stored pixels are turned to the right.
    expected = _expected() if is_upright else np.rot90(_expected(), -1)
    np.testing.assert_array_equal(labels, expected)


NAN = float("nan")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_labelme(("sea", "polygon", SQUARE, {})), "label 'sea' is none of the classes; add it to"),
        (_labelme(("road", "line", SQUARE[:2], {})), "shape 1 is a line, expected polygons"),
        (_labelme(("road", "polygon", SQUARE[:2], {})), "a polygon of 2 points, expected 3"),
        (
            _labelme(("road", "polygon", [[NAN, 1]] * 3, {})),
            "shapes[0].points[0][0] is nan, expected a finite number",
        ),
        (_labelme(("road", "mask", SQUARE, {"mask": "*"})), "not as labelme writes it"),
        (_labelme(("road", "mask", SQUARE, {})), "not as labelme writes it: no 'mask'"),
        (_labelme((5, "polygon", SQUARE, {})), "the label 5, expected a text"),
        (_labelme(imageWidth=13), "a mask of 9x13 pixels, expected 9x12 as in its image"),
        (_labelme(imageWidth="12"), "a size of 9x12 pixels, expected whole numbers"),
        ({"shapes": 5}, "not as labelme writes it: shapes is 5, expected a list of objects"),
        ({"shapes": [None]}, "shapes is [null], expected a list of objects"),
        (_labelme(("road", "polygon", None, {})), "points are null, expected a list"),
        (_supervisely({"classTitle": "road"}), "not as Supervisely writes it: no 'geometryType'"),
        ({"objects": [], "size": {}}, "a size of NonexNone pixels, expected whole numbers"),
        (_coco([[1, 2, 3]]), "a polygon of 3 numbers, expected pairs"),
        (_coco([]), "annotation 1: no outline, only a box"),
        (_coco([[1, 2] * 3], category_id=4), "its category 'unused' is none of the classes; add"),
        (_coco([[1, 2] * 3], category_id=9), "its category 9 is not in the file"),
        (_coco([[1, 2] * 3], image_id=9), "its image 9 is not in the file"),
    ],
)
def test_faults_are_named(tmp_path, content, message):
    with pytest.raises(UserError) as error:
        _labels(tmp_path, content)
    assert message in str(error.value)
    assert ".json" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("options", [{"mask_suffix": "_L"}, {"mask_encoding": "index"}])
def test_options_of_masks_do_not_fit_outlines(tmp_path, options):
    with pytest.raises(UserError, match="^--mask-.*: not with the outlines of COCO, leave it out"):
        _plan(tmp_path, _coco([[1, 2] * 3]), **options)
