import numpy as np
import pytest

from experiments import size_ladder
from experiments.runs import read_examples
from rnnseg.budgets.costs import stage_costs
from rnnseg.evaluation import metrics
from rnnseg.evaluation.evaluator import Evaluator
from rnnseg.models.loading import load_model
from tests.support.commands import run


def test_a_ladder_goes_on_from_the_smaller_image(models, source):
    model = load_model(models / "model.keras")
    points = size_ladder.measure(model, source, "val", (1, 3), (0.5, 1.0), 0.8)
    assert {(each.small, each.large) for each in points} == {
        (0, 1), (0, 3), (1, 0), (3, 0), (1, 1), (1, 3), (3, 1), (3, 3)
    }  # fmt: skip
    found = {(each.small, each.large): each.miou for each in points}
    for scale, ways in ((1.0, [(0, 1), (0, 3)]), (0.5, [(1, 0), (3, 0)])):
        result = Evaluator(model, (1, 3), scales=(scale,))(source, "val", progress=False)
        assert [found[way] for way in ways] == pytest.approx(result.miou, abs=1e-3)
    total = 0
    for example in read_examples(source, "val"):
        half = model.unroll(example.image[None, ::2, ::2], 3)[-1, 0].numpy()
        canvas = model.unroll(example.image[None], 1, 0.8 * interpolated(half)[None])[-1]
        class_map = model.read(canvas, (41, 57))[0].numpy()
        total = total + metrics.confusion_matrix(example.label, class_map, 3)
    assert found[3, 1] == pytest.approx(metrics.mean_iou(total), abs=1e-3)


def interpolated(half):
    """Returns the canvas of the half image, whose pixels lie on every other one of 6x8 pixels."""
    rows, columns = np.arange(6) / 2, np.arange(8) / 2
    canvas = np.stack([[np.interp(rows, np.arange(len(half)), half[:, x, c]) for c in range(3)]
                       for x in range(half.shape[1])], -1)  # fmt: skip
    canvas = canvas.transpose(1, 2, 0)
    return np.stack([[np.interp(columns, np.arange(half.shape[1]), row[:, c]) for c in range(3)]
                     for row in canvas]).transpose(0, 2, 1).astype(np.float32)  # fmt: skip


def test_costs_counted_by_hand(models):
    model = load_model(models / "model.keras")
    half, full = stage_costs(model, 21, 29), stage_costs(model, 41, 57)
    resizing = 3 * 21 * 29 * 3
    assert size_ladder.cost(model, 41, 57, (0.5, 1.0), 0, 2) == full.total(2)
    assert size_ladder.cost(model, 41, 57, (0.5, 1.0), 2, 0) == (
        half.total(2) - half.read + full.read + resizing
    )
    raising = 3 * 6 * 8 * 3
    assert size_ladder.cost(model, 41, 57, (0.5, 1.0), 2, 1) == (
        half.total(2) - half.read + resizing + raising + full.total(1)
    )


def test_gains_are_over_plain_points_of_at_most_the_cost():
    points = [
        size_ladder.Point(1, 0, 0.5, 1.0),
        size_ladder.Point(0, 1, 0.6, 4.0),
        size_ladder.Point(1, 1, 0.65, 5.0),
        size_ladder.Point(0, 6, 0.7, 6.0),
        size_ladder.Point(1, 6, 0.68, 7.0),
    ]
    gains = size_ladder.gains(points)
    assert [gains[index] for index in (0, 1, 3)] == [None] * 3
    assert [gains[2], gains[4]] == pytest.approx([0.05, -0.02])


def test_the_table(models, source):
    arguments = [models / "model.keras", "--data", "tiny", "--iterations", "1,2", "--images", 1]
    lines = run(size_ladder.main, *arguments).splitlines()
    assert lines[0] == "| n at 0.5 | n at 1 | mIoU % | multiply-adds G | over plain, points |"
    costs = [float(line.split(" | ")[3]) for line in lines[2:]]
    assert len(costs) == 8 and costs == sorted(costs)
    ladders = [line for line in lines[2:] if line.startswith("| 1 | 1 |")]
    assert len(ladders) == 1 and ladders[0].rstrip(" |").split()[-1][0] in "+-"
