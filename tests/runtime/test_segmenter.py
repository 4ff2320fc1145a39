import concurrent.futures
import re
import types
import warnings

import numpy as np
import pytest
import tensorflow as tf

from rnnseg import UserError
from rnnseg.budgets.budget import Budget
from rnnseg.runtime import interpreters, reading
from rnnseg.runtime import segmenter as runtime
from rnnseg.runtime.letterbox import letterbox
from tests.support.litert import make_info

SIZE = (41, 57)


def noise(size=SIZE, seed=0):
    """Returns an image of blotches, each several canvas pixels wide."""
    rng = np.random.default_rng(seed)
    blotches = rng.integers(0, 256, (-(-size[0] // 20), -(-size[1] // 20), 3))
    image = blotches.repeat(20, 0).repeat(20, 1)[: size[0], : size[1]]
    return np.clip(image + rng.integers(-20, 20, (*size, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def segmenter(fixed_file):
    return runtime.Segmenter(fixed_file, threads=2)


def check_equal(found, expected):
    """Checks that class maps are equal except where rounding decides a tie."""
    assert found.shape == expected.shape and found.dtype == np.int32
    assert len(np.unique(expected)) > 1
    assert np.mean(found == expected) > 0.998


# --- against the model ---


@pytest.mark.parametrize("iterations", [1, 3, None])
@pytest.mark.parametrize("kind", ["fixed", "staged"])
def test_equal_to_the_model(kind, iterations, request):
    model = request.getfixturevalue("model" if kind == "fixed" else "staged_model")
    segmenter = runtime.Segmenter(request.getfixturevalue(f"{kind}_file"), threads=2)
    image = noise()
    result = segmenter(image, iterations=iterations)
    number = iterations or model.iterations
    check_equal(result.classes, model.predict_classes(image, Budget(iterations=number)))
    assert result.iterations == number
    np.testing.assert_allclose(result.canvas, model.unroll(image[None], number)[-1, 0], atol=1e-3)


def test_a_smaller_image_is_read_where_it_lies(segmenter, model):
    image = noise((30, 50))
    padded = np.empty((*SIZE, 3), np.uint8)
    padded[:] = segmenter.info.padding
    padded[:30, :50] = image
    expected = model.predict_classes(padded, Budget(iterations=2))[:30, :50]
    check_equal(segmenter(image, iterations=2).classes, expected)


def test_a_larger_image_is_read_at_its_own_size(segmenter, model):
    image = noise((82, 100))
    result = segmenter(image, iterations=2)
    # Of 82 rows 41 are left, which end on row 40 of the canvas' pixels; of 100 columns 50.
    rows, columns = np.linspace(0, 40 / 8, 82), np.linspace(0, 49 / 8, 100)
    expected = reading.read_at(result.canvas, rows, columns)
    np.testing.assert_array_equal(result.classes, expected)
    seen = letterbox(image, segmenter.info).image
    np.testing.assert_allclose(result.canvas, model.unroll(seen, 2)[-1, 0], atol=1e-3)


def test_any_size_is_taken_as_it_is(any_size_file, model):
    segmenter = runtime.Segmenter(any_size_file)
    for size in ((41, 57), (24, 90), (67, 50), (41, 57)):
        image = noise(size)
        expected = model.predict_classes(image, Budget(iterations=2))
        check_equal(segmenter(image, iterations=2).classes, expected)


def test_steps_are_all_iterations(segmenter, model):
    image = noise((33, 57))
    results = list(segmenter.steps(image, iterations=4))
    assert [result.iterations for result in results] == [1, 2, 3, 4]
    for number, result in enumerate(results, 1):
        whole = segmenter(image, iterations=number)
        np.testing.assert_array_equal(result.classes, whole.classes)
        assert result.settled == whole.settled
    best = [result.canvas[:5].argmax(-1) for result in results]  # the sixth row is all padding
    assert results[0].settled is None
    expected = [np.mean(a == b) for a, b in zip(best, best[1:], strict=False)]
    np.testing.assert_allclose([result.settled for result in results[1:]], expected)
    assert len(list(segmenter.steps(image))) == model.iterations


def test_tracking_starts_from_the_last_canvas(segmenter, model):
    frames = [noise(seed=seed) for seed in range(3)]
    segmenter.reset()
    canvas = None
    for frame in frames:
        prepared = model.prepare(model.encode(frame[None]))
        if canvas is None:
            canvas, _ = model.refine(prepared, model.iterations)
        else:
            blank, _ = model.stack.initial_state(prepared)
            canvas, _ = model.refine(prepared, 2, canvas=blank + 0.4 * (canvas - blank))
        result = segmenter.track(frame, keep=0.4)
        np.testing.assert_allclose(result.canvas, canvas[0], atol=1e-3)
        check_equal(result.classes, model.read(canvas, SIZE)[0].numpy())
    assert result.iterations == 2


def test_a_staged_files_video_is_tracked_at_its_own_stride(staged_file, staged_model):
    segmenter = runtime.Segmenter(staged_file)
    frames = [noise(seed=seed) for seed in range(2)]
    first = segmenter.track(frames[0])
    assert first.canvas.shape == (7, 9, 4)
    blank = staged_model.stack.initial_values["canvas"]
    expected = staged_model.compiled_stages.canvas_of(
        frames[1][None], 2, blank + 0.2 * (first.canvas[None] - blank)
    )
    second = segmenter.track(frames[1])
    np.testing.assert_allclose(second.canvas, expected[0], atol=1e-3)
    check_equal(second.classes, staged_model.read(expected, SIZE)[0].numpy())


def test_tracking_starts_anew(segmenter):
    first, second = noise(), noise(seed=1)
    anew = segmenter(second, iterations=2).canvas

    def tracked(image, **options):
        return segmenter.track(image, first_iterations=2, **options).canvas

    segmenter.reset()
    tracked(first)
    assert np.abs(tracked(second) - anew).max() > 0.01
    np.testing.assert_array_equal(tracked(second, keep=0), anew)
    segmenter.reset()
    np.testing.assert_array_equal(tracked(second), anew)
    tracked(first[:-1])  # another size
    np.testing.assert_array_equal(tracked(second), anew)
    single = segmenter.track(first, iterations=1)
    assert single.iterations == 1 and single.settled is not None


def test_threads_do_not_disturb_each_other(fixed_file):
    videos = [[noise(seed=10 * video + frame) for frame in range(4)] for video in range(6)]

    def run(segmenter, video):
        found = []
        for index, frame in enumerate(video):
            found.append(segmenter.track(frame, iterations=1 + index).classes)
            found += [result.classes for result in segmenter.steps(frame, 2)]
            found.append(segmenter(frame, iterations=3).classes)
        segmenter.reset()
        return np.stack(found)

    serial = [run(runtime.Segmenter(fixed_file), video) for video in videos]
    shared = runtime.Segmenter(fixed_file)
    with concurrent.futures.ThreadPoolExecutor(len(videos)) as pool:
        parallel = list(pool.map(lambda video: run(shared, video), videos))
    np.testing.assert_array_equal(parallel, serial)


# --- deadlines, with a simulated clock and a simulated interpreter ---


class Machine:
    """A clock in milliseconds that the stages advance, with the interface of `Signatures`."""

    def __init__(self):
        self.now, self.interpreters = 0.0, 0
        self.costs = {"encode": 20, "refine": 2, "read": 3, "encode_1": 10, "encode_2": 15}
        self.done = []

    def perf_counter(self):
        return self.now / 1000

    def spend(self, stage):
        self.done.append(stage)
        self.now += self.costs[stage]

    def open(self, path, threads):
        self.interpreters += 1
        return self

    def check(self, name, inputs, outputs):
        pass

    def __getitem__(self, name):
        def encode(**inputs):
            self.spend(name)
            return {self.encoded: np.zeros((1, 6, 8, 4), np.float32)}

        def refine(prepared, **variables):
            self.spend("refine")
            return variables

        return refine if name == "refine" else encode

    encoded = "prepared"


@pytest.fixture
def machine(monkeypatch):
    machine = Machine()

    def read_at(canvas, rows, columns):
        machine.spend("read")
        return np.zeros((len(rows), len(columns)), np.int32)

    monkeypatch.setattr(interpreters, "Signatures", machine.open)
    monkeypatch.setattr(runtime, "time", types.SimpleNamespace(perf_counter=machine.perf_counter))
    monkeypatch.setattr(runtime.reading, "read_at", read_at)
    return machine


@pytest.fixture
def pretended(machine, tmp_path):
    path = tmp_path / "anytime.tflite"
    path.write_bytes(make_info(miou={1: 0.5, 6: 0.6, 12: 0.7, 14: 0.7}).append_to(b"nothing"))
    return runtime.Segmenter(path)


@pytest.fixture
def staged(machine, tmp_path):
    """A segmenter whose first iteration needs one stage of the encoder, the second another one."""
    path = tmp_path / "anytime.tflite"
    stages = dict(early_iterations=(1, 1), encoder_outputs=(("prepared",),) * 3)
    path.write_bytes(make_info(iterations=8, **stages).append_to(b"nothing"))
    return runtime.Segmenter(path)


def numbers(segmenter, deadline_ms, calls):
    results = [segmenter(noise(), deadline_ms=deadline_ms) for _ in range(calls)]
    return [result.iterations for result in results]


@pytest.mark.parametrize(
    ("deadline_ms", "expected"), [(24.9, 1), (25.5, 1), (28.5, 2), (40, 8), (46.5, 11), (500, 12)]
)
@pytest.mark.filterwarnings("ignore:deadline_ms")
def test_as_many_iterations_as_fit(pretended, deadline_ms, expected):
    for _ in range(8):
        pretended(noise(), iterations=4)
    result = pretended(noise(), deadline_ms=deadline_ms)
    assert result.iterations == expected
    assert result.milliseconds == pytest.approx(23 + 2 * expected)
    stages = {"encode": 20, "refine": 2 * expected, "read": 3}
    assert result.stages == pytest.approx(stages)


@pytest.mark.parametrize(("miou", "most"), [(None, 6), ({1: 0.5, 2: 0.6, 6: 0.4}, 2)])
def test_no_more_iterations_than_scored_best_or_were_trained(machine, tmp_path, miou, most):
    path = tmp_path / "anytime.tflite"
    path.write_bytes(make_info(miou=miou).append_to(b"nothing"))
    segmenter = runtime.Segmenter(path)
    segmenter(noise())
    assert segmenter(noise(), deadline_ms=500).iterations == most
    assert segmenter(noise(), iterations=20).iterations == 20


def test_the_first_call_knows_what_it_sees(pretended):
    """Before the first reading, the time of encoding is reserved for it."""
    first = pretended(noise(), deadline_ms=60)
    assert 1 < first.iterations < 12 and first.milliseconds <= 60
    assert pretended(noise(), deadline_ms=60).iterations > first.iterations


@pytest.mark.filterwarnings("ignore:deadline_ms")
def test_adapts_to_a_busy_machine_and_back(pretended, machine):
    numbers(pretended, 50, 10)
    machine.costs = {name: 3 * cost for name, cost in machine.costs.items()}
    results = [pretended(noise(), deadline_ms=100) for _ in range(15)]
    late = [result for result in results if result.milliseconds > 100 + 6]
    assert len(late) <= 2 and 4 <= results[-1].iterations <= 5  # (100 - 69) / 6
    machine.costs = {name: cost / 3 for name, cost in machine.costs.items()}
    assert numbers(pretended, 50, 40)[-1] >= 11


def test_one_hiccup_costs_little(pretended, machine):
    before = numbers(pretended, 40, 12)[-1]
    machine.costs["read"] = 300
    pretended(noise(), deadline_ms=40)
    machine.costs["read"] = 3
    after = numbers(pretended, 40, 12)
    assert min(after) >= before - 4 and after[-1] >= before - 1


def test_what_was_learned_holds_for_other_sizes(machine, tmp_path):
    path = tmp_path / "anytime.tflite"
    path.write_bytes(make_info(size=None).append_to(b"nothing"))
    segmenter = runtime.Segmenter(path)
    for _ in range(12):
        segmenter(noise((40, 50)))
    machine.costs = {name: 4 * cost for name, cost in machine.costs.items()}
    assert segmenter(noise((80, 100)), deadline_ms=92 + 8 * 5 + 6).iterations == 5


def test_too_short_a_deadline_is_said(pretended):
    """Before the call, or after it if the latency is not known yet."""
    for words in ("took 25 ms", "takes at least 1[0-9] ms"):
        with pytest.warns(UserWarning) as told:
            assert pretended(noise(), deadline_ms=5).iterations == 1
        (warning,) = told
        assert re.match(f"deadline_ms=5 is too short: one .* {words} from", str(warning.message))
        assert warning.filename == __file__ and "\n" not in str(warning.message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pretended(noise(), iterations=50)
        for _ in range(20):
            pretended(noise(), deadline_ms=26)
    with pytest.warns(UserWarning, match="deadline_ms=5 is too short: .* at least 25 ms"):
        assert pretended(noise(), deadline_ms=5).iterations == 1


def test_a_first_call_in_time_is_not_warned_of(pretended):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pretended(noise(), deadline_ms=26).iterations == 1


def test_the_encoder_is_run_as_far_as_the_iterations_need_it(staged, machine):
    ran = {
        1: ["encode", "refine"],
        2: ["encode", "refine", "encode_1", "refine"],
        4: ["encode", "refine", "encode_1", "refine", "encode_2", "refine", "refine"],
    }
    encode = {1: 20, 2: 30, 4: 45}
    for number, stages in ran.items():
        result = staged(noise(), iterations=number)
        assert machine.done == [*stages, "read"]
        expected = {"encode": encode[number], "refine": 2 * number, "read": 3}
        assert result.stages == pytest.approx(expected)
        machine.done.clear()
    staged.track(noise(), first_iterations=1)
    staged.track(noise(), iterations=2)
    assert machine.done == [*ran[1], "read", *ran[2], "read"]
    machine.done.clear()
    for result in staged.steps(noise(), 2):
        assert result.stages["encode"] == pytest.approx(encode[result.iterations])
    assert machine.done == [*ran[1], "read", *ran[2][2:], "read"]


# One iteration takes 25 ms, two take 37, three take 54; each further one takes 2.
@pytest.mark.parametrize(
    ("deadline_ms", "expected"), [(26, 1), (36, 1), (38, 2), (53, 2), (55, 3), (57, 4), (500, 8)]
)
def test_the_next_stage_is_part_of_what_lies_ahead(staged, deadline_ms, expected):
    for _ in range(20):
        staged(noise(), iterations=4)
    assert staged(noise(), deadline_ms=deadline_ms).iterations == expected


def test_a_deadline_below_the_whole_encoder_is_kept_without_a_warning(staged):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(10):
            result = staged(noise(), deadline_ms=30)
            assert result.iterations == 1 and result.milliseconds <= 30
    with pytest.warns(UserWarning, match="deadline_ms=5 is too short: .* at least 2[0-5] ms"):
        staged(noise(), deadline_ms=5)


def test_a_stage_that_was_never_run_is_tried_where_it_probably_fits(staged, machine):
    """At first it might take as long as the stages before it."""
    assert staged(noise(), deadline_ms=44).iterations == 1  # 22 + 20 + 2 + 3 are more
    assert "encode_1" not in machine.done
    assert 2 in numbers(staged, 44, 12)


def test_a_delay_of_a_stage_does_not_keep_it_from_running_for_ever(staged, machine):
    for _ in range(20):
        staged(noise(), iterations=2)
    assert staged(noise(), deadline_ms=40).iterations == 2
    machine.costs["encode_1"] = 100
    staged(noise(), iterations=2)
    machine.costs["encode_1"] = 10
    assert staged(noise(), deadline_ms=40).iterations == 1
    assert numbers(staged, 40, 20)[-1] == 2


@pytest.mark.filterwarnings("ignore:deadline_ms")
def test_stages_that_do_not_run_follow_the_speed_of_the_machine(staged, machine):
    for _ in range(20):
        staged(noise(), iterations=2)
    machine.costs = {name: 3 * cost for name, cost in machine.costs.items()}
    for _ in range(20):
        staged(noise(), iterations=1)
    late = [staged(noise(), deadline_ms=100).milliseconds for _ in range(3)]  # 2 would take 111
    assert max(late) <= 100
    machine.costs = {name: cost / 3 for name, cost in machine.costs.items()}
    assert numbers(staged, 40, 40)[-1] == 2


def test_time_of_the_caller_is_not_counted(pretended, machine):
    pretended(noise())  # an interpreter is there
    start = machine.now
    steps = pretended.steps(noise(), 3)
    machine.now += 1000
    results = []
    for result in steps:
        machine.now += 500
        results.append(result)
    np.testing.assert_allclose([r.milliseconds for r in results], [25, 30, 35])
    assert machine.now - start == 1000 + 3 * 500 + 35


def test_interpreters_are_used_again(pretended, machine):
    for result in pretended.steps(noise(), 6):
        if result.iterations == 2:
            break
    del result
    pretended(noise())
    assert machine.interpreters == 1
    assert machine.done.count("refine") == 2 + 6
    first, second = pretended.steps(noise()), pretended.steps(noise())
    next(first), next(second)
    assert machine.interpreters == 2
    list(first), list(second)
    pretended(noise())
    assert machine.interpreters == 2


def test_feed_forward_files_have_one_iteration(machine, tmp_path):
    path = tmp_path / "anytime.tflite"
    info = make_info(recurrent=False, iterations=1, state={})
    path.write_bytes(info.append_to(b"nothing"))
    machine.encoded = "canvas"
    segmenter = runtime.Segmenter(path)
    results = [segmenter(noise()), segmenter(noise(), iterations=5)]
    results += [*segmenter.steps(noise(), 3), segmenter.track(noise()), segmenter.track(noise())]
    results.append(segmenter(noise(), deadline_ms=1000))
    assert len(results) == 6 and machine.done == ["encode", "read"] * 6
    for result in results:
        assert (result.iterations, result.settled) == (1, None)
        assert result.stages == pytest.approx({"encode": 20, "read": 3})
    with pytest.warns(UserWarning, match="at least 2[0-3] ms"):
        segmenter(noise(), deadline_ms=5)


# --- wrong use ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iterations": 0}, "iterations=0: expected a whole number of at least 1"),
        ({"iterations": 1.5}, "iterations=1.5"),
        ({"iterations": True}, "iterations=True"),
        ({"deadline_ms": 0}, "deadline_ms=0: expected milliseconds above 0"),
        ({"deadline_ms": -3.0}, "deadline_ms=-3.0"),
        ({"deadline_ms": float("nan")}, "deadline_ms=nan"),
        ({"deadline_ms": "40"}, "deadline_ms=40: expected milliseconds"),
        ({"iterations": 2, "deadline_ms": 40}, "iterations=2 and deadline_ms=40: give one of them"),
    ],
)
def test_wrong_arguments_are_refused(pretended, options, message):
    with pytest.raises(UserError, match=message):
        pretended(noise(), **options)


def test_wrong_arguments_of_video_and_steps_are_refused(pretended):
    with pytest.raises(UserError, match="keep=1.5: expected a number from 0 to 1"):
        pretended.track(noise(), keep=1.5)
    with pytest.raises(UserError, match="iterations=0"):
        pretended.track(noise(), iterations=0)
    with pytest.raises(UserError, match="iterations=-1"):
        pretended.steps(noise(), -1)  # at once, not when the first result is asked for
    for use in (pretended, pretended.steps, pretended.track):
        with pytest.raises(UserError, match="is grey"):
            use(noise()[..., 0])


@pytest.mark.parametrize(
    ("canvas", "message"),
    [
        (np.zeros((6, 8, 3)), r"canvas of shape \(6, 8, 3\): expected \(6, 8, 4\) for this"),
        (np.zeros((1, 6, 8, 4)), r"expected \(6, 8, 4\)"),
        (np.zeros((8, 6, 4)), r"expected \(6, 8, 4\)"),
        (0, r"canvas of shape \(\): expected"),
        (np.full((6, 8, 4), np.nan), "infinite values or NaN: expected finite logits"),
        (np.full((6, 8, 4), -np.inf, np.float32), "infinite values or NaN"),
        (np.full((6, 8, 4), 1e300), "infinite values or NaN"),
        (np.zeros((6, 8, 4), complex), "canvas of complex128: expected logits, float32"),
        (np.full((6, 8, 4), "a"), "canvas of <U1: expected logits"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_wrong_canvases_are_refused(pretended, canvas, message):
    for options in ({"iterations": 2}, {"deadline_ms": 40}):
        with pytest.raises(UserError, match=message) as told:
            pretended(noise(), canvas=canvas, **options)
        assert "\n" not in str(told.value)


@pytest.mark.parametrize("kind", [np.float16, np.float64, np.int32])
def test_canvases_of_other_numbers_are_converted(segmenter, kind):
    canvas = np.random.default_rng(0).integers(-3, 4, (6, 8, 4))
    expected = segmenter(noise(), iterations=2, canvas=canvas.astype(np.float32))
    found = segmenter(noise(), iterations=2, canvas=canvas.astype(kind))
    np.testing.assert_array_equal(found.canvas, expected.canvas)


def test_a_canvas_has_the_size_of_the_image_where_the_file_has_none(any_size_file):
    segmenter = runtime.Segmenter(any_size_file)
    canvas = segmenter(noise((24, 90)), iterations=1).canvas
    segmenter(noise((24, 90)), iterations=1, canvas=canvas)
    with pytest.raises(UserError, match=r"shape \(4, 13, 4\): expected \(6, 8, 4\)"):
        segmenter(noise(), iterations=1, canvas=canvas)


def test_a_damaged_file_is_told(fixed_file, tmp_path):
    """The model is cut off; the metadata are whole."""
    content = fixed_file.read_bytes()
    model = content[: content.index(b"PK\x03\x04")]
    path = tmp_path / "damaged.tflite"
    path.write_bytes(make_info().append_to(model[: len(model) // 2]))
    with pytest.raises(UserError, match=r"damaged.tflite is damaged, .*: export the model again"):
        runtime.Segmenter(path)


def test_wrong_files_are_refused(tmp_path):
    path = tmp_path / "segment.tflite"
    path.write_bytes(make_info(kind="segment").append_to(b"nothing"))
    with pytest.raises(UserError, match=r"segment.tflite runs all .* expected anytime.tflite"):
        runtime.Segmenter(path)
    path.write_bytes(b"another maker's")
    with pytest.raises(UserError, match="segment.tflite has no metadata"):
        runtime.Segmenter(path)
    with pytest.raises(UserError, match="none.tflite cannot be read"):
        runtime.Segmenter(tmp_path / "none.tflite")


def test_wrong_numbers_of_threads_are_refused(fixed_file):
    with pytest.raises(UserError, match="threads=0: expected a whole number of at least 1"):
        runtime.Segmenter(fixed_file, threads=0)


# --- real images ---


def test_a_real_image(segmenter, model, real_data):
    path = sorted((real_data / "camvid" / "val").glob("*.jpg"))[0]
    image = tf.io.decode_jpeg(tf.io.read_file(str(path))).numpy()
    result = segmenter(image[:41, :57])
    check_equal(result.classes, model.predict_classes(image[:41, :57]))
    assert segmenter(image).classes.shape == image.shape[:2]
