import sys

import numpy as np

from experiments import overview
from rnnseg import visualize
from tests.support.commands import fail, image_size, run
from tests.support.sources import halves


def test_overview_cuts_out_what_the_map_says():
    image = np.full((2, 2, 3), (10, 110, 180), np.uint8)
    inside = np.array([[True, True], [False, False]])
    certainty = np.array([[1.0, 0.0], [1.0, 0.0]])
    found = overview.cut_out(image, inside, certainty).astype(int)
    np.testing.assert_array_equal(found[0, 0], image[0, 0])
    assert np.ptp(found[1], axis=-1).max() == 0  # grey
    assert (found[:, 1] > found[:, 0]).all()  # less is seen
    logits = np.array([[0.0, np.log(3)], [500, -500]])
    np.testing.assert_allclose(overview.softmax(logits), [[0.25, 0.75], [1, 0]])


def test_overview_command(models, tmp_path, monkeypatch):
    monkeypatch.setattr(overview, "photograph", lambda: halves(1, 60, 90)[0][0])
    table = tmp_path / "comparison.csv"
    table.write_text(
        "system,output_stride,scale,iterations,miou,miou_occurring,gmacs,milliseconds\n"
        "RNN,16,1,1,50,51,1.5,9\nRNN,16,1,2,52,53,1.6,9\nRNN,16,0.5,2,49,50,0.5,9\n"
        "RNN,16,1,3,52,53,1.7,9\nRNN,8,1,1,60,61,5,9\nFixed,16,1,1,54,55,3,9\n"
        "Fixed,16,0.5,1,44,45,1,9\nGRU,16,1,1,44,45,1,9\nGRU,16,1,2,44,45,1,9\n"
    )
    arguments = [models / "model.keras", "--iterations", "1,2"]
    out = tmp_path / "overview.png"
    run(overview.main, *arguments, "--curve", "Tiny", table, "RNN", "--out", out)
    assert image_size(out)[0] == 1600
    run(overview.main, *arguments, "--out", out)
    assert image_size(out)[1] < 800
    assert overview.read_points(table, "RNN") == {
        "RNN": [(0.5, 50), (1.5, 51), (1.6, 53)], "Fixed": [(1, 45), (3, 55)]
    }  # fmt: skip
    message = fail(overview.main, *arguments, "--curve", "Tiny", table, "LSTM", "--out", out)
    assert "has no system 'LSTM'; it has RNN, Fixed" in message


def test_overview_says_which_system_and_which_mean():
    axes = visualize.new_figure((4, 3)).subplots()
    overview.draw_curve(axes, "VOC", {"RNN, context": [(1.5, 51), (1.6, 53)]})
    assert axes.get_ylabel() == "mIoU of the classes that occur (%)"
    (entry,) = axes.get_legend().get_texts()
    assert entry.get_text() == "RNN, context: one model, any number of iterations"


def test_overview_needs_its_photograph(models, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    message = fail(overview.main, models / "model.keras", "--out", tmp_path / "overview.png")
    assert "pip install scikit-image" in message
