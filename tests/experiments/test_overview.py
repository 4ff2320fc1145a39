import numpy as np
from PIL import Image

from experiments import overview
from rnnseg import visualize
from rnnseg.budgets.scaling import predict_scaled
from rnnseg.models.loading import load_model
from tests.support.commands import fail, image_size, run
from tests.support.sources import halves


def test_overview_fades_what_is_uncertain():
    image = np.full((2, 2, 3), (10, 110, 180), np.uint8)
    found = overview.faded(image, np.array([[1.0, 0.5], [0.0, 0.0]])).astype(int)
    np.testing.assert_array_equal(found[0, 0], image[0, 0])
    assert (found[0, 1] > found[0, 0]).all()  # less is seen
    np.testing.assert_array_equal(found[1, 0], [218, 233, 244])  # 255 - 0.15 * (255 - value)
    logits = np.array([[0.0, np.log(3)], [500, -500]])
    np.testing.assert_allclose(overview.softmax(logits), [[0.25, 0.75], [1, 0]])


def test_overview_shows_the_largest_class_other_than_the_background():
    probabilities = np.eye(3)[[[0, 0, 0], [2, 2, 1]]]
    assert overview.shown_class(probabilities, ("background", "cat", "dog")) == 2
    assert overview.shown_class(probabilities, ("sky", "road", "tree")) == 0


def test_overview_reads_points_at_the_size_of_the_photograph(models):
    model, image = load_model(models / "model.keras"), halves(1, 60, 90)[0][0]
    found = overview.probabilities(model, image, [(0.5, 1), (1, 2)])
    assert found.shape == (2, 60, 90, model.num_classes)
    # At another scale it interpolates twice, first at the size of the scaled image.
    expected = predict_scaled(model, image[None], 0.5, 1)[0]
    assert (found[0].argmax(-1) == expected).mean() > 0.99
    np.testing.assert_array_equal(found[1].argmax(-1), predict_scaled(model, image[None], 1, 2)[0])


def test_overview_command(models, tmp_path):
    photograph = tmp_path / "photograph.png"
    Image.fromarray(halves(1, 60, 90)[0][0]).save(photograph)
    table = tmp_path / "comparison.csv"
    table.write_text(
        "system,output_stride,scale,iterations,miou,miou_occurring,gmacs,milliseconds\n"
        "RNN,16,1,1,50,51,1.5,9\nRNN,16,1,2,52,53,1.6,9\nRNN,16,0.5,2,49,50,0.5,9\n"
        "RNN,16,1,3,52,53,1.7,9\nRNN,8,1,1,60,61,5,9\nFixed,16,1,1,54,55,3,9\n"
        "Fixed,16,0.5,1,44,45,1,9\nGRU,16,1,1,44,45,1,9\nGRU,16,1,2,44,45,1,9\n"
    )
    arguments = [models / "model.keras", photograph, "--point", 0.5, 1, "--point", 1, 2]
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
    message = fail(overview.main, *arguments, "--point", 1, 0, "--out", out)
    assert "0 is not in the range x>=1" in message


def test_overview_says_which_system_and_which_mean():
    axes = visualize.new_figure((4, 3)).subplots()
    overview.draw_curve(axes, "VOC", {"RNN, context": [(1.5, 51), (1.6, 53)]})
    assert axes.get_ylabel() == "mIoU of the classes that occur (%)"
    (entry,) = axes.get_legend().get_texts()
    assert entry.get_text() == "RNN, context: one model, any number of iterations"


def test_names_do_not_cross_the_curve():
    axes = visualize.new_figure((4, 3)).subplots()
    systems = {"RNN": [(1, 50), (4, 54)], "better": [(2, 52.1)], "worse": [(1, 40), (2, 51.9)]}
    overview.draw_curve(axes, "VOC", systems)
    assert {each.get_text(): each.get_va() for each in axes.texts} == {
        "better": "bottom", "worse": "top"
    }  # fmt: skip
