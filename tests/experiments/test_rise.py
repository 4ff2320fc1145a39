import numpy as np
import pytest

from experiments import rise
from rnnseg.evaluation import metrics
from rnnseg.evaluation.evaluator import Evaluator
from rnnseg.models.loading import load_model
from tests.support.commands import read_markdown, run


def test_differences_are_those_of_the_whole_and_scatter_as_images_do():
    rng = np.random.default_rng(0)
    # The second number of iterations gets one pixel more in a hundred, in every image alike.
    confusions = np.zeros((60, 3, 2, 2), np.int64)
    confusions[:, 0] = [[90, 10], [10, 90]]
    confusions[:, 1] = [[91, 9], [9, 91]]
    third = rng.integers(80, 100, 60)
    confusions[:, 2, 0, 0], confusions[:, 2, 0, 1] = third, 100 - third
    confusions[:, 2, 1] = [10, 90]
    steady, noisy = rise.differences(confusions, [(1, 2), (1, 3)])
    expected = 100 * np.diff(metrics.mean_iou(confusions.sum(0)))
    assert steady.points == pytest.approx(expected[0])
    assert steady.low == pytest.approx(steady.high) and steady.low == pytest.approx(expected[0])
    assert noisy.low < noisy.points < noisy.high
    # IoU of a class is about 0.8; a mean of 60 images scatters by 1 / sqrt(60) of one of them.
    means = [metrics.mean_iou(confusions[rng.integers(0, 60, 60), 2].sum(0)) for _ in range(2000)]
    assert noisy.high - noisy.low == pytest.approx(100 * np.ptp(np.percentile(means, (2.5, 97.5))),
                                                   rel=0.15)  # fmt: skip
    (whole,) = rise.differences(confusions, [(1, 3)], block=60)
    assert whole.low == whole.high == pytest.approx(noisy.points)
    assert rise.table([steady], 1).splitlines()[-1].endswith("| rises |")


def test_rise_command(models, source):
    printed = run(rise.main, models / "model.keras", "--data", "tiny")
    model = load_model(models / "model.keras")
    result = Evaluator(model, range(1, 5))(source, "val", progress=False)
    miou = 100 * metrics.mean_iou_occurring(result.confusion)
    cells = read_markdown(printed)
    assert cells["1 to 2"][0] == f"{miou[1] - miou[0]:+.2f}"
    assert cells["2 to 4"][0] == f"{miou[3] - miou[1]:+.2f}"
