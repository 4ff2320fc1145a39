import itertools

import pytest

from rnnseg import UserError
from rnnseg.budgets import benchmarking, timing
from rnnseg.budgets.profiles import Machine
from rnnseg.models.registry import MODELS
from tests.support.models import make_model


@pytest.fixture
def clock(monkeypatch):
    """A clock on which every call takes a millisecond more than the call before."""
    ticks = itertools.accumulate(
        1e-3 * (index // 2 + 1 if index % 2 else 0) for index in itertools.count()
    )
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(ticks))


def test_a_profile_holds_stages_and_predictions(tmp_path):
    model = make_model(iterations=3)
    profile = benchmarking.measure(model, "run", [(48, 40), (24, 32), (48, 40)], repeats=2)
    assert profile.machine == Machine.this() and profile.parameters == model.count_params()
    assert [(each.height, each.width) for each in profile.sizes] == [(24, 32), (48, 40)]
    for size in profile.sizes:
        assert list(size.stages) == ["encode", "prepare", "refine", "read"]
        assert list(size.predictions) == [1, 2, 3, 6]
        assert min(*size.stages.values(), *size.predictions.values()) > 0


def test_medians_leave_out_the_first_round(clock):
    model = make_model(iterations=3)
    (size,) = benchmarking.measure(model, "run", [(24, 32)], repeats=3).sizes
    # Eight calls a round, in turns; the middle one of the last three rounds is the third in all.
    assert size.stages["encode"] == pytest.approx(17)
    assert size.stages["refine"] == pytest.approx(19 / 3)  # three iterations in one call
    assert size.stages["read"] == pytest.approx(20)
    assert list(size.predictions.values()) == pytest.approx([21, 22, 23, 24])


def test_a_feed_forward_model_has_one_prediction():
    model = MODELS["deeplabv3"](3, encoder="small_cnn", encoder_weights=None, output_stride=8)
    (size,) = benchmarking.measure(model, "run", [(24, 32)], repeats=1).sizes
    assert list(size.predictions) == [1]


def test_every_stage_of_the_encoder_is_timed():
    """Its lines need one number of iterations for each stage, and two for the last."""
    model = make_model(
        output_stride=16,
        canvas_stride=4,
        skip_layers=("stride4_conv2_relu", "stride8_conv2_relu"),
        early_iterations=(2, 1),
        iterations=5,
    )
    profile = benchmarking.measure(model, "run", [(33, 32)], repeats=1)
    assert profile.first_iterations == (0, 2, 3)
    assert list(profile.sizes[0].predictions) == [1, 2, 3, 4, 5, 10]
    assert list(profile.sizes[0].stages) == ["encode", "prepare", "refine", "read"]


def test_images_that_do_not_fit_into_the_memory_are_refused_before_the_work(monkeypatch):
    monkeypatch.setattr(benchmarking, "_predictions", None)  # would be called
    with pytest.raises(UserError, match="32768x32768 pixels: .* GB for the tensors.*expected at m"):
        benchmarking.measure(make_model(), "here", [(64, 64), (32768, 32768)])


def test_too_small_images_are_refused_before_the_work():
    with pytest.raises(UserError, match="an image of 7x40 pixels is smaller"):
        benchmarking.measure(make_model(), "run", [(48, 40), (7, 40)])
