import dataclasses
import json

import pytest

from rnnseg import Budget, UserError
from rnnseg.budgets.planning import Scores, make_plan, scores_path
from rnnseg.budgets.profiles import Machine, Profile, SizeProfile
from rnnseg.evaluation import report

MACHINE = Machine("chip", 4)


def write_scores(path, rows, **changes):
    """Writes scores as `rnnseg evaluate` does; rows are (iterations, mIoU, G, ms)."""
    path.parent.mkdir(exist_ok=True)
    content = {
        "data": "streets",
        "split": "val",
        "images": 7,
        "image_size": [36, 48],
        "scales": [1.0],
        "flip": False,
        "machine": dataclasses.asdict(MACHINE),
        "results": [
            {"iterations": n, "miou": miou, "multiply_adds": gmacs * 1e9, "milliseconds": ms}
            for n, miou, gmacs, ms in rows
        ],
    } | changes
    path.write_text(json.dumps(content))


@pytest.fixture
def runs(tmp_path):
    """The scores of a small and a large recurrent model, and of a feed-forward one."""
    rows = {
        "small": [(1, 0.50, 1.0, 10.0), (2, 0.55, 1.1, 11.0), (4, 0.54, 1.3, 13.0)],
        "large": [(1, 0.53, 3.0, 30.0), (2, 0.60, 3.5, 35.0), (6, 0.65, 5.5, 55.0)],
        "plain": [(1, 0.62, 4.0, 60.0)],
    }
    for name, each in rows.items():
        write_scores(tmp_path / name / "scores_val.json", each)
    return [str(tmp_path / name) for name in rows]


def chosen(plan):
    return plan.best.model.rpartition("/")[2], plan.best.iterations


def test_the_best_within_the_budget(runs):
    for budget, expected in (
        ({"gmacs": 1.05}, ("small", 1)),
        ({"gmacs": 3.4}, ("small", 2)),
        ({"gmacs": 3.5}, ("large", 2)),
        ({"gmacs": 5.4}, ("plain", 1)),
        ({"gmacs": 9}, ("large", 6)),
        ({"milliseconds": 12}, ("small", 2)),
        ({"milliseconds": 54}, ("large", 2)),
        ({"milliseconds": 99}, ("large", 6)),
    ):
        assert chosen(make_plan(runs, "val", Budget(**budget))) == expected
    with pytest.raises(UserError, match="9 ms: the cheapest point, .*small, 1 iteration, needs 10"):
        make_plan(runs, "val", Budget(milliseconds=9))


def test_the_times_of_a_profile_replace_those_of_the_evaluation(runs):
    size = SizeProfile(36, 48, {}, {n: 30.0 + n for n in (1, 2, 4)})
    Profile(runs[0], MACHINE, "2.20.0", 1, (size,)).save()
    assert not Scores.load(runs[0], "val").profiled
    scores = Scores.load(runs[0], "val").with_profile()
    assert scores.profiled and [each.milliseconds for each in scores.points] == [31, 32, 34]
    assert [each.gmacs for each in scores.points] == [1.0, 1.1, 1.3]
    assert chosen(make_plan(runs, "val", Budget(milliseconds=31))) == ("large", 1)
    assert chosen(make_plan(runs, "val", Budget(milliseconds=32))) == ("small", 2)
    # A file of scores may be of the model at another stride, which takes another time.
    assert not Scores.load(scores_path(runs[0], "val"), "val").with_profile().profiled
    for multi_scale in ({"scales": [0.5, 1.0]}, {"flip": True}):
        write_scores(scores_path(runs[0], "val"), [(1, 0.5, 9.0, 90.0)], **multi_scale)
        scores = Scores.load(runs[0], "val")
        assert scores.multi_scale and not scores.with_profile().profiled


def test_scores_of_an_earlier_version_have_the_scale_of_their_evaluation(tmp_path):
    for name, scale, options in (
        ("own", 1.0, {}),
        ("half", 0.5, {"scales": [0.5]}),
        ("mirrored", 1.0, {"scales": [0.5], "flip": True}),
    ):
        write_scores(tmp_path / f"{name}.json", [(1, 0.5, 9.0, 90.0)], **options)
        scores = Scores.load(tmp_path / f"{name}.json", "val")
        assert [each.scale for each in scores.points] == [scale]
        assert scores.multi_scale == (name == "mirrored")


def write_scaled_scores(path, rows):
    """Writes scores of several scales; rows are (scale, iterations, mIoU, G, ms)."""
    write_scores(path, [row[1:] for row in rows])
    content = json.loads(path.read_text())
    for result, (scale, *_) in zip(content["results"], rows, strict=True):
        result["scale"] = scale
    path.write_text(json.dumps(content))


def test_the_scale_of_the_images_is_a_second_dial(tmp_path, runs):
    run = tmp_path / "scaled"
    rows = [
        (0.5, 1, 0.56, 0.9, 9.0), (0.5, 6, 0.57, 1.2, 12.0),
        (1.0, 1, 0.58, 3.0, 30.0), (1.0, 6, 0.64, 5.0, 50.0),
    ]  # fmt: skip
    write_scaled_scores(run / "scores_val.json", rows)
    scores = Scores.load(run, "val")
    assert scores.miou_by_scale == {0.5: {1: 0.56, 6: 0.57}, 1.0: {1: 0.58, 6: 0.64}}
    assert scores.miou == {1: 0.58, 6: 0.64} and not scores.multi_scale
    plan = make_plan([str(run), *runs], "val", Budget(gmacs=2.9))
    assert (plan.best.scale, plan.best.iterations) == (0.5, 6)
    found = [(point.model.rpartition("/")[2], point.scale) for point in plan.frontier]
    assert found == [
        ("scaled", 0.5), ("scaled", 0.5), ("scaled", 1.0), ("large", 1.0), ("plain", 1.0),
        ("scaled", 1.0), ("large", 1.0),
    ]  # fmt: skip
    lines = report.plan_table(plan).splitlines()
    (marked,) = [line for line in lines if line.startswith("* ")]
    assert marked.split()[1:] == [str(run), "6", "0.5", "57.00", "1.200"]
    assert f"{run}, 6 iterations, images scaled by 0.5: mIoU 57.00 % at 1.2 G" in lines[-3]


def test_times_of_scaled_images_come_from_the_profile_of_their_size(tmp_path):
    run = tmp_path / "scaled"
    write_scaled_scores(run / "scores_val.json", [(0.5, 2, 0.5, 1.0, 1.0), (1.0, 2, 0.6, 2.0, 2.0)])
    sizes = (
        SizeProfile(19, 25, {"read": 1.0}, {n: 10.0 + n for n in (1, 2, 4)}),
        SizeProfile(36, 48, {"read": 3.0}, {n: 40.0 + 4 * n for n in (1, 2, 4)}),
    )
    Profile(str(run), MACHINE, "2.20.0", 1, sizes).save()
    scores = Scores.load(run, "val").with_profile()
    # 35 steps from pixel to pixel become 18, and 47 become 24; the class map has 36x48 pixels.
    assert [each.milliseconds for each in scores.points] == pytest.approx([12 - 1 + 3, 48])


def test_a_profile_of_smaller_images_matters_for_milliseconds_alone(runs):
    size = SizeProfile(8, 8, {}, {1: 30.0})
    Profile(runs[0], MACHINE, "2.20.0", 1, (size,)).save()
    assert chosen(make_plan(runs, "val", Budget(gmacs=1.05))) == ("small", 1)
    with pytest.raises(UserError, match="image of 36x48 is larger than any in .*--save"):
        make_plan(runs, "val", Budget(milliseconds=12))


def test_missing_and_wrong_files_are_named_with_the_command(tmp_path, runs):
    run = tmp_path / "untried"
    run.mkdir()
    expected = f"scores_val.json: no such scores; .*rnnseg evaluate {run} --data DATA --split val$"
    with pytest.raises(UserError, match=expected):
        make_plan([*runs, str(run)], "val", Budget(gmacs=9))
    for content, fault in (
        ("no json", "not valid JSON"),
        ("[]", "the content is"),
        ("{}", "data is missing"),
    ):
        (run / "scores_val.json").write_text(content)
        with pytest.raises(UserError, match=f"{fault}.*; .* rnnseg evaluate {run} --data"):
            Scores.load(run, "val")
    with pytest.raises(UserError, match="rnnseg evaluate RUN --data DATA .* --json .*/other.json"):
        Scores.load(tmp_path / "other.json", "val")


@pytest.mark.parametrize(
    "changes, row, message",
    [
        ({}, {"miou": float("nan")}, r"results\[0\].miou is nan, expected a finite number"),
        ({}, {"miou": 55}, r"results\[0\].miou is 55, expected at most 1"),
        ({}, {"miou": None}, r"results\[0\].miou is null, expected a number"),
        ({}, {"multiply_adds": -1}, r"results\[0\].multiply_adds is -1, expected at least 0"),
        ({}, {"milliseconds": -1e-3}, r"results\[0\].milliseconds is -0.001, expected at least 0"),
        ({}, {"milliseconds": "9"}, r'results\[0\].milliseconds is "9", expected a number'),
        ({}, {"iterations": 0}, r"results\[0\].iterations is 0, expected at least 1"),
        ({}, {"scale": 0}, r"results\[0\].scale is 0, expected more than 0"),
        ({"image_size": "36x48"}, {}, 'image_size is "36x48", expected a list'),
        ({"image_size": ["36", 48]}, {}, r'image_size\[0\] is "36", expected a whole number'),
        ({"images": 10**25}, {}, "images is 1.*, expected a number of at most 63 bits"),
        ({"scales": []}, {}, r"scales is \[\], expected 1 or more elements"),
        ({"flip": "no"}, {}, 'flip is "no", expected true or false'),
        ({"results": []}, {}, r"results is \[\], expected 1 or more elements"),
        ({"results": {"0": {}}}, {}, "results is .*, expected a list"),
        ({"machine": {"processor": "a"}}, {}, "machine.cores is missing"),
        ({"data": None}, {}, "data is null, expected a text"),
    ],
)
def test_damaged_scores_are_refused(tmp_path, changes, row, message):
    path = tmp_path / "scores_val.json"
    write_scores(path, [(1, 0.5, 1.0, 10.0)])
    content = json.loads(path.read_text())
    content["results"][0] |= row
    path.write_text(json.dumps(content | changes))
    with pytest.raises(UserError, match=f"^{path}: {message}; make the scores anew by rnnseg eval"):
        Scores.load(tmp_path, "val")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"data": "fields"}, "small was evaluated on data 'streets' but .*other on 'fields'"),
        ({"split": "test"}, "on split 'val' but .* on 'test'"),
        ({"images": 8}, "on images 7 but .* on 8"),
    ],
)
def test_scores_on_other_images_cannot_be_compared(tmp_path, runs, changes, message):
    write_scores(tmp_path / "other" / "scores_val.json", [(1, 0.9, 0.1, 0.1)], **changes)
    with pytest.raises(UserError, match=message):
        make_plan([*runs, str(tmp_path / "other")], "val", Budget(gmacs=9))


def test_times_of_two_machines_cannot_be_compared(tmp_path, runs):
    machine = dataclasses.asdict(Machine("other chip", 4))
    write_scores(tmp_path / "far" / "scores_val.json", [(1, 0.9, 0.1, 0.1)], machine=machine)
    models = [*runs, str(tmp_path / "far")]
    with pytest.raises(UserError, match="on chip, 4 cores, but .*far on other chip, 4 cores"):
        make_plan(models, "val", Budget(milliseconds=99))
    assert chosen(make_plan(models, "val", Budget(gmacs=9))) == ("far", 1)


def test_the_table(runs):
    lines = report.plan_table(make_plan(runs, "val", Budget(gmacs=3.6))).splitlines()
    _, large, plain = runs
    assert lines[0] == "streets, val: 7 images, most often 36x48"
    marked = [line for line in lines if line.startswith("* ")]
    assert [line.split()[1:] for line in marked] == [[large, "2", "60.00", "3.500"]]
    assert lines[-3:] == [
        f"within 3.6 G: {large}, 2 iterations: mIoU 60.00 % at 3.5 G",
        f"+2.00 points for more: {plain}, 1 iteration: mIoU 62.00 % at 4 G",
        f"+5.00 points for more: {large}, 6 iterations: mIoU 65.00 % at 5.5 G",
    ]
    timed = report.plan_table(make_plan(runs, "val", Budget(milliseconds=99)))
    assert "milliseconds of chip, 4 cores" in timed and f"{large}: from its evaluation" in timed
    assert timed.endswith("a larger budget would gain nothing") and f"{plain} " not in timed
