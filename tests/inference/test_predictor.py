import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

import rnnseg
from rnnseg import Budget, Predictor, UserError
from rnnseg.budgets import costs as budgets
from rnnseg.budgets.profiles import Machine, Profile, SizeProfile
from rnnseg.budgets.scaling import scaled_costs
from rnnseg.models.registry import MODELS
from tests.budgets.test_planning import write_scores
from tests.support.models import make_model


def random_images(height=33, width=41, batch=2, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (batch, height, width, 3), dtype=np.uint8)


def classes(model, images, iterations, canvas=None):
    """Returns the prediction by the plain call of the model."""
    return np.argmax(model(images, iterations=iterations, canvas=canvas), axis=-1)


def test_class_maps_are_those_of_the_call():
    model = make_model(iterations=3)
    images = random_images()
    found = model.predict_classes(images)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, classes(model, images, 3))
    for budget in (Budget(iterations=1), Budget(iterations=9)):
        found = model.predict_classes(images, budget)
        np.testing.assert_array_equal(found, classes(model, images, budget.iterations))
    for image in (images[0], tf.constant(images[0]), images[0].astype(np.float64)):
        np.testing.assert_array_equal(model.predict_classes(image), classes(model, images, 3)[0])


def test_iterations_continue_from_a_given_canvas():
    model = make_model()
    images = random_images()
    canvas = np.random.default_rng(1).normal(size=(2, 5, 6, 4)).astype(np.float32)
    expected = classes(model, images, 2, canvas)
    assert (expected != classes(model, images, 2)).any()
    budget = Budget(iterations=2)
    np.testing.assert_array_equal(model.predict_classes(images, budget, canvas), expected)
    np.testing.assert_array_equal(model.predict_classes(images[1], budget, canvas[1]), expected[1])
    with pytest.raises(UserError, match=r"canvas of shape \(1, 5, 6, 4\): expected \(2, 5, 6, 4\)"):
        model.predict_classes(images, budget, canvas[:1])
    with pytest.raises(UserError, match=r"\(5, 5, 4\): expected \(5, 6, 4\)"):
        model.predict_classes(images[0], budget, canvas[0, :, :5])


def test_wrong_images():
    model = make_model()
    for shape in ((33, 41), (33, 41, 4), (1, 1, 33, 41, 3), (0, 33, 41, 3)):
        with pytest.raises(UserError, match="images of shape .*: expected"):
            model.predict_classes(np.zeros(shape, np.uint8))
    with pytest.raises(UserError, match="an image of 33x7 pixels is smaller"):
        model.predict_classes(np.zeros((33, 7, 3), np.uint8))


def test_one_trace_serves_all_sizes_and_numbers():
    model = make_model()
    for height, width, batch, iterations in ((33, 41, 1, 2), (40, 30, 3, 5), (17, 64, 2, 1)):
        model.predict_classes(random_images(height, width, batch), Budget(iterations=iterations))
        model.predict_classes(random_images(height, width, 1)[0])
    assert model.compiled_stages.trace_counts() == {"class_maps, 1 stages": 1}
    model.predict_classes(random_images().astype(np.float64))  # another type of input
    assert model.compiled_stages.trace_counts() == {"class_maps, 1 stages": 2}


@pytest.mark.parametrize("size", [(33, 41), (64, 30)])
def test_multiply_adds_pay_for_the_most_that_fit(size):
    model = make_model(iterations=4)
    predictor = Predictor(model)
    costs = budgets.stage_costs(model, *size)
    for gmacs in np.linspace(costs.total(1), costs.total(10), 29) / 1e9:
        fitting = [n for n in range(1, 5) if costs.total(n) / 1e9 <= gmacs]
        assert predictor.iterations(Budget(gmacs=gmacs), *size) == max(fitting)
        assert Budget(gmacs=gmacs).iterations_for(model, *size) == max(fitting)
    image = random_images(*size)[0]
    three = Budget(gmacs=costs.total(3) / 1e9)
    np.testing.assert_array_equal(
        model.predict_classes(image, three), classes(model, image[None], 3)[0]
    )
    with pytest.raises(UserError, match=rf"image of {size[0]}x{size[1]} needs .* G at least"):
        model.predict_classes(image, Budget(gmacs=0.999 * costs.total(1) / 1e9))


def loaded(tmp_path, **changes):
    """Returns a loaded predictor with a profile: 10 ms, and 2 ms per iteration, at 33x41."""
    model = make_model(iterations=4)
    model.save(tmp_path / "model.keras")
    size = SizeProfile(33, 41, {}, {n: 10.0 + 2.0 * n for n in (1, 2, 4, 8)})
    options = dict(
        model=str(tmp_path / "model.keras"),
        machine=Machine.this(),
        tensorflow="2.20.0",
        parameters=model.count_params(),
        sizes=(size,),
    )
    Profile(**(options | changes)).save()
    return Predictor.load(tmp_path / "model.keras")


def test_milliseconds_pay_for_the_most_that_fit(tmp_path):
    predictor, images = loaded(tmp_path), random_images()
    given = Predictor(predictor.model, profile=predictor.profile)
    for milliseconds, expected in ((12.0, 1), (13.9, 1), (14.0, 2), (17, 3), (1000, 4)):
        budget = Budget(milliseconds=milliseconds)
        assert predictor.iterations(budget, 33, 41) == expected
        assert given.iterations(budget, 33, 41) == expected
        np.testing.assert_array_equal(
            predictor(images, budget), classes(predictor.model, images, expected)
        )


@pytest.mark.parametrize(
    ("miou", "expected"), [((0.5, 0.6, 0.4), 2), ((0.5, 0.6, 0.7), 8), ((0.7, 0.6, 0.5), 1)]
)
def test_budgets_end_at_the_number_that_scored_best(tmp_path, miou, expected):
    predictor = loaded(tmp_path)
    points = zip((1, 2, 8), miou, (1.0, 1.1, 1.7), (12.0, 14.0, 26.0), strict=True)
    write_scores(tmp_path / "model.scores_val.json", points)
    given = Predictor(predictor.model, miou=dict(zip((1, 2, 8), miou, strict=True)))
    assert given.iterations(Budget(gmacs=1000), 33, 41) == expected
    assert predictor.iterations(Budget(milliseconds=1000), 33, 41) == expected
    assert predictor.iterations(Budget(gmacs=1000), 33, 41) == expected
    assert predictor.iterations(Budget(milliseconds=12), 33, 41) == 1
    assert predictor.iterations(Budget(iterations=20), 33, 41) == 20
    assert predictor.iterations(None, 33, 41) == 4


# The mean IoU by scale and number of iterations.
SCALED = {0.5: {1: 0.50, 2: 0.55, 4: 0.54}, 1.0: {1: 0.52, 2: 0.60, 4: 0.65}}


def write_scaled_scores(path, scaled=SCALED):
    write_scores(path, [])
    content = json.loads(path.read_text())
    content["results"] = [
        {"iterations": n, "scale": scale, "miou": miou, "multiply_adds": 1e9, "milliseconds": 1.0}
        for scale, scores in scaled.items()
        for n, miou in scores.items()
    ]
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("size", [(33, 41), (64, 30)])
def test_the_scale_and_the_iterations_that_scored_best_within_the_budget(size):
    model = make_model(iterations=4)
    predictor = Predictor(model, miou=SCALED[1.0], scaled_miou={0.5: SCALED[0.5]})
    points = {
        (scale, n): (scaled_costs(model, *size, scale).total(n), miou)
        for scale, scores in SCALED.items()
        for n, miou in scores.items()
    }
    costs = [cost for cost, _ in points.values()]
    for limit in np.linspace(min(costs), 1.5 * max(costs), 40):
        iterations, scale = predictor.setting(Budget(gmacs=limit / 1e9), *size)
        assert scaled_costs(model, *size, scale).total(iterations) <= limit
        best = max(miou for cost, miou in points.values() if cost <= limit)
        # What was not evaluated, three iterations, has a score between those of its neighbours.
        assert np.interp(iterations, *zip(*SCALED[scale].items(), strict=True)) >= best
    least = Budget(gmacs=0.99 * min(costs) / 1e9)
    expected = f"iteration on an image of {size[0]}x{size[1]}, scaled by 0.5, needs .* G at least"
    with pytest.raises(UserError, match=expected):
        predictor.setting(least, *size)
    assert predictor.setting(Budget(iterations=7), *size) == (7, 1.0)
    assert predictor.setting(None, *size) == (4, 1.0)


def test_a_scaled_image_is_predicted_at_its_own_size():
    """The image is scaled, segmented, and the canvas read at every pixel of the image."""
    model = make_model(iterations=4)
    predictor = Predictor(model, miou=SCALED[1.0], scaled_miou={0.5: SCALED[0.5]})
    images = random_images(33, 41)
    budget = Budget(gmacs=scaled_costs(model, 33, 41, 0.5).total(2) / 1e9)
    assert predictor.setting(budget, 33, 41) == (2, 0.5)
    canvas = model.unroll(images[:, ::2, ::2].astype(np.float32), 2)[-1]
    # 17x21 pixels lie on a grid of 8; every second pixel of the image lies between its pixels.
    logits = tf.compat.v1.image.resize_bilinear(canvas, (33, 49), align_corners=True)
    expected = np.argmax(logits[:, :33, :41], -1)
    found = predictor(images, budget)
    assert found.dtype == np.int32 and np.mean(found == expected) > 0.999
    np.testing.assert_array_equal(predictor(images[0], budget), found[0])
    *_, last = predictor.every_iteration(images[0], 2, 0.5)
    np.testing.assert_array_equal(last, found[0])
    settled = predictor(images, budget, stop_when_settled=True)
    assert np.mean(settled == found) > 0.9


def test_a_given_canvas_is_of_the_image_itself():
    model = make_model(iterations=4)
    predictor = Predictor(model, miou=SCALED[1.0], scaled_miou={0.5: SCALED[0.5]})
    images = random_images(33, 41)
    canvas = np.random.default_rng(1).normal(size=(2, 5, 6, 4)).astype(np.float32)
    budget = Budget(gmacs=scaled_costs(model, 33, 41).total(1) / 1e9)
    assert predictor.setting(budget, 33, 41).scale == 0.5
    found = predictor(images, budget, canvas)
    np.testing.assert_array_equal(found, classes(model, images, 1, canvas))


def test_wrong_images_are_refused_at_every_scale():
    predictor = Predictor(make_model(), miou=SCALED[1.0], scaled_miou={0.5: SCALED[0.5]})
    for shape in ((33, 41), (33, 41, 4), (1, 1, 33, 41, 3)):
        with pytest.raises(UserError, match="images of shape .*: expected"):
            predictor(np.zeros(shape, np.uint8), Budget(gmacs=1e-3))


def test_scales_at_which_an_image_is_too_small_are_left_out(tmp_path):
    predictor = loaded(tmp_path)
    write_scaled_scores(tmp_path / "model.scores_val.json", {0.5: SCALED[0.5]})
    assert predictor.setting(Budget(gmacs=99), 15, 41) == (2, 0.5)
    assert predictor.setting(Budget(gmacs=99), 14, 41) == (4, 1.0)
    assert predictor.setting(Budget(milliseconds=99), 14, 41) == (4, 1.0)


def test_scales_within_milliseconds(tmp_path):
    predictor = loaded(tmp_path)
    write_scaled_scores(tmp_path / "model.scores_val.json")
    small = SizeProfile(17, 21, {"read": 1.0}, {n: 4.0 + n for n in (1, 2, 4)})
    large = SizeProfile(33, 41, {"read": 2.0}, {n: 10.0 + 2.0 * n for n in (1, 2, 4)})
    given = Predictor(
        predictor.model,
        miou=SCALED[1.0],
        scaled_miou={0.5: SCALED[0.5]},
        profile=dataclasses.replace(predictor.profile, sizes=(small, large)),
    )
    for milliseconds, expected in ((6, (1, 0.5)), (7, (2, 0.5)), (13, (2, 0.5)), (14, (2, 1.0))):
        assert given.setting(Budget(milliseconds=milliseconds), 33, 41) == expected
    # One size alone: every image takes as long, and so the largest scores best.
    assert predictor.setting(Budget(milliseconds=12), 33, 41) == (1, 1.0)


def test_early_iterations_within_budgets():
    """Each budget pays for the most that fits, although costs step up where the encoder goes on."""
    model = make_model(
        iterations=5,
        output_stride=16,
        canvas_stride=4,
        skip_layers=("stride4_conv2_relu", "stride8_conv2_relu"),
        early_iterations=(1, 2),
    )
    predictor, image = Predictor(model), random_images(33, 41)[0]
    costs = budgets.stage_costs(model, 33, 41)
    for iterations in range(1, 6):
        budget = Budget(gmacs=costs.total(iterations) / 1e9)
        assert predictor.iterations(budget, 33, 41) == iterations
        expected = classes(model, image[None], iterations)[0]
        np.testing.assert_array_equal(predictor(image, budget), expected)
    for index, found in enumerate(predictor.every_iteration(image, 5), start=1):
        assert np.mean(found == classes(model, image[None], index)[0]) > 0.999


def test_a_model_reads_no_files_beside_itself(tmp_path):
    """The same call gives the same prediction before and after an evaluation."""
    model, image = loaded(tmp_path).model, random_images()[0]
    before = model.predict_classes(image, Budget(gmacs=1000))
    np.testing.assert_array_equal(before, classes(model, image[None], 4)[0])
    points = zip((1, 2, 8), (0.9, 0.6, 0.5), (1.0, 1.1, 1.7), (12.0, 14.0, 26.0), strict=True)
    write_scores(tmp_path / "model.scores_val.json", points)
    again = rnnseg.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict_classes(image, Budget(gmacs=1000)), before)
    with pytest.raises(UserError, match="latency of the model .* rnnseg.Predictor.load"):
        again.predict_classes(image, Budget(milliseconds=1000))


def test_a_number_is_no_budget():
    with pytest.raises(UserError, match=r"budget=4: expected rnnseg.Budget\(gmacs=…\)"):
        make_model().predict_classes(random_images(), 4)
    with pytest.raises(UserError, match=r"budget=4: expected rnnseg.Budget\(gmacs=…\)"):
        Predictor(make_model())(random_images(), 4)


def test_milliseconds_that_are_not_known(tmp_path):
    budget = Budget(milliseconds=50)
    with pytest.raises(UserError, match="latency .* not known here: .* rnnseg benchmark MODEL.ker"):
        Predictor(make_model())(random_images(), budget)
    predictor = loaded(tmp_path)
    with pytest.raises(UserError, match="needs 12.0 ms at least on this machine; give "):
        predictor(random_images(), Budget(milliseconds=11))
    with pytest.raises(UserError, match="34x41 is larger .*--size 33x41,34x41 --save"):
        predictor(random_images(34), budget)
    elsewhere = dataclasses.replace(Machine.this(), cores=1000)
    predictor = loaded(tmp_path, machine=elsewhere)
    with pytest.raises(UserError, match="1000 cores, but this is .*--size 33x41 --save"):
        predictor(random_images(), budget)
    predictor = loaded(tmp_path, parameters=7)
    with pytest.raises(UserError, match="of a model with 7 parameters, but .*--size 33x41 --save"):
        predictor(random_images(), budget)
    (tmp_path / "model.profile.json").unlink()
    with pytest.raises(UserError, match="model.profile.json: no such profile; .* --save"):
        predictor(random_images(), budget)
    # A mistake does not stick: measured in the meantime, the same predictor finds the profile.
    profile = loaded(tmp_path).profile
    assert predictor.profile == profile


def test_every_iteration():
    model = make_model()
    with pytest.warns(DeprecationWarning, match="make rnnseg.Predictor"):
        assert model.predictor.model is model
    image = random_images()[0]
    maps = list(Predictor(model).every_iteration(image, 3))
    assert len(maps) == 3
    for number, found in enumerate(maps, start=1):
        np.testing.assert_array_equal(found, classes(model, image[None], number)[0])


@pytest.mark.parametrize("name", ["deeplabv3", "pspnet"])
def test_feed_forward_models_have_one_iteration(name):
    model = MODELS[name](3, encoder="small_cnn", encoder_weights=None, output_stride=8)
    image = random_images()[0]
    expected = np.argmax(model(image[None]), -1)[0]
    least = budgets.stage_costs(model, 33, 41).total(1) / 1e9
    for budget in (None, Budget(iterations=5), Budget(gmacs=least), Budget(gmacs=99)):
        assert Predictor(model).iterations(budget, 33, 41) == 1
        np.testing.assert_array_equal(model.predict_classes(image, budget), expected)
    with pytest.raises(UserError, match="needs .* G at least"):
        model.predict_classes(image, Budget(gmacs=0.99 * least))


def test_a_model_that_predicted_saves_and_loads(tmp_path):
    model = make_model()
    found = model.predict_classes(random_images())
    model.save(tmp_path / "model.keras")
    again = rnnseg.load_model(tmp_path / "model.keras")
    assert again.loaded_from == str(tmp_path / "model.keras") and model.loaded_from is None
    np.testing.assert_array_equal(again.predict_classes(random_images()), found)


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_stopping_when_settled_is_refining_until_settled(kernel_size):
    model = make_model(kernel_size=kernel_size)
    model.set_weights([3 * weight for weight in model.get_weights()])
    images = random_images(65, 81)
    canvas = np.random.default_rng(1).normal(size=(2, 9, 11, 4)).astype(np.float32)
    prepared = model.prepare(model.encode(images))
    for given in (None, canvas):
        expected, spent = model.refine_until_settled(prepared, 12, given)
        assert np.min(spent) < 12
        found = model.predict_classes(images, Budget(iterations=12), given, stop_when_settled=True)
        np.testing.assert_array_equal(found, model.read(expected, (65, 81)))


def test_a_feed_forward_model_has_nothing_to_stop():
    model = MODELS["pspnet"](4, encoder="small_cnn", encoder_weights=None, output_stride=8)
    with pytest.raises(UserError, match="stop_when_settled: .* is feed-forward"):
        model.predict_classes(random_images(), stop_when_settled=True)
