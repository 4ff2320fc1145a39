import numpy as np

from experiments import curve_shape
from rnnseg.models.loading import load_model
from tests.support.commands import fail, read_markdown, run
from tests.support.sources import tiny_source


def test_frequent_classes_and_increments_are_printed(models, open_as):
    source = open_as(tiny_source(val=12))
    arguments = [models / "model.keras", "--data", "tiny", "--iterations", 3, "--images", 5]
    printed = run(curve_shape.main, *arguments)
    assert printed.splitlines()[0] == "in 5 or more images: left, right, top"
    rows = np.array([read_markdown(printed)[number] for number in "123"], float)
    np.testing.assert_allclose(rows[:, 0], rows[:, 1])  # all classes are frequent
    model = load_model(models / "model.keras")
    examples = [image for image, _ in tiny_images(source)]
    canvases = [model.unroll(examples[index][None], 3).numpy() for index in (0, 10)]
    increments = [np.abs(each[1] - each[0]).mean() for each in canvases]
    np.testing.assert_allclose(rows[1, 2], np.mean(increments), atol=6e-4)
    best = [np.sort(each[2], -1) for each in canvases]
    leads = [(each[..., -1] - each[..., -2]).mean() for each in best]
    np.testing.assert_allclose(rows[2, 3], np.mean(leads), atol=6e-3)


def tiny_images(source):
    from rnnseg.data.pipeline import decode

    return [[part.numpy() for part in decode(example)] for example in source.read("val")]


def test_rare_classes_have_no_mean_and_a_feed_forward_model_no_curve(models, source):
    printed = run(curve_shape.main, models / "model.keras", "--data", "tiny", "--iterations", 1)
    assert "in 20 or more images: no class" in printed
    assert read_markdown(printed)["1"][1] == ""
    message = fail(curve_shape.main, models / "feed_forward.keras", "--data", "tiny")
    assert "feed_forward.keras is feed-forward: expected a recurrent model" in message
