import dataclasses
import html.parser
import re

import numpy as np
import pytest

from rnnseg.evaluation.evaluator import Evaluation, Evaluator
from rnnseg.evaluation.report_page import save_page, shown_point
from rnnseg.models.registry import MODELS
from tests.support.models import make_model
from tests.support.sources import halves, make_source

HISTORY = [
    {"epoch": f"{epoch}", "loss": f"{3 - epoch}", "val_miou_1_iteration": "30", "val_miou": "40"}
    for epoch in (1, 2)
]


def evaluation(miou, iterations=(1, 2, 6), scales=(1.0,), flip=False):
    """An evaluation with these mIoUs, of two classes."""
    confusion = np.array([[[each, 1 - each], [0, 1]] for each in miou])
    return Evaluation("tiny", "val", ("a", "b"), 3, iterations, confusion, (40, 48),
                      (1,) * 3, (1.0,) * 3, scales, flip)  # fmt: skip


def test_the_point_that_is_used_by_default_is_shown():
    half, whole = evaluation((0.5, 0.9, 0.7), scales=(0.5,)), evaluation((0.5, 0.8, 0.6))
    assert shown_point([half, whole], 6) == (1, 2)
    assert shown_point([half, whole], 2) == (1, 1)
    # Else the best of all.
    assert shown_point([half, whole], 12) == (0, 1)
    assert shown_point([half], 6) == (0, 1)
    averaged = evaluation((0.5, 0.8, 0.6), scales=(0.5, 1.0), flip=True)
    assert shown_point([averaged], 6) == (0, 2)


class Page(html.parser.HTMLParser):
    """What a browser would load, and the text."""

    def __init__(self, text):
        super().__init__()
        self.loaded, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.loaded += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("kind", ["recurrent", "lr_aspp"])
def test_a_page_of_a_model(tmp_path, kind):
    source = make_source({"val": halves(4)}, name="<tiny> & $data")
    options = {"low_level_layer": "stride4_conv2_relu"} if kind == "lr_aspp" else {}
    if kind == "recurrent":
        model = make_model(num_classes=3)
    else:
        model = MODELS[kind](3, encoder="small_cnn", encoder_weights=None, head_channels=8,
                             **options)  # fmt: skip
    evaluator = Evaluator(model, (1, 6) if kind == "recurrent" else (1,))
    result = evaluator(source, "val", progress=False)
    path = tmp_path / "report_val.html"
    folder = save_page(path, "my_$run", [result], [evaluator], source, HISTORY)
    assert folder == tmp_path / "report_val"
    files = {file.name for file in folder.iterdir()}
    assert files == {
        "training.png", "curve.png", "class_iou.png", "confusion.png", "best.png", "median.png",
        "worst.png",
    }  # fmt: skip
    page = Page(path.read_text())
    # Nothing is loaded from anywhere.
    assert len(page.loaded) == len(files)
    assert all(each.startswith("data:image/png;base64,") for each in page.loaded)
    assert "url(" not in path.read_text() and "@import" not in path.read_text()
    assert "4 images of <tiny> & $data, split val" in page.text
    for miou in result.miou:
        assert f"{100 * miou:.2f}" in page.text
    scores = result.image_miou[-1]
    best, worst = int(scores.argmax()), int(scores.argmin())
    assert f"Best: val_{best}, mIoU {100 * scores[best]:.1f} %" in page.text
    assert f"Worst: val_{worst}, mIoU {100 * scores[worst]:.1f} %" in page.text
    assert len(re.findall("class=shown", path.read_text())) == 1


def test_a_page_replaces_an_earlier_one(tmp_path):
    source = make_source({"val": halves(1)})
    evaluator = Evaluator(make_model(num_classes=3), (1,), scales=(0.75,))
    result = evaluator(source, "val", progress=False)
    (tmp_path / "page").mkdir()
    for name in ("training", "worst", "mine"):
        (tmp_path / "page" / f"{name}.png").write_text("earlier")
    save_page(tmp_path / "page.html", "run", [result], [evaluator], source)
    names = {file.stem for file in (tmp_path / "page").iterdir()}
    assert names == {"curve", "class_iou", "confusion", "best", "mine"}
    text = Page((tmp_path / "page.html").read_text()).text
    assert "1 iteration on images scaled by 0.75" in text and "Worst" not in text
    unlabelled = dataclasses.replace(result, image_miou=np.full((1, 1), np.nan))
    save_page(tmp_path / "page.html", "run", [unlabelled], [evaluator], source)
    assert not (tmp_path / "page" / "best.png").exists()
