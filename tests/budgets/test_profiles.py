import dataclasses
import json

import pytest

from rnnseg import UserError, schemas
from rnnseg.budgets import timing
from rnnseg.budgets.costs import EarlyCosts, Stage, StageCosts
from rnnseg.budgets.profiles import Machine, Profile, SizeProfile, profile_path
from rnnseg.evaluation import report

STAGES = {"encode": 8.0, "prepare": 1.0, "refine": 2.0, "read": 1.0}


def size(height, width, start, each, numbers=(1, 2, 6, 12)):
    return SizeProfile(height, width, STAGES, {n: start + n * each for n in numbers})


def profile(*sizes, model="run"):
    return Profile(str(model), Machine("chip", 4, ("card",)), "2.20.0", 1234, sizes)


def test_round_trip(tmp_path):
    saved = profile(size(40, 50, 10.0, 2.0), size(80, 100, 30.0, 5.0), model=tmp_path)
    saved.save()
    assert Profile.load(tmp_path) == saved
    assert str(tmp_path) not in profile_path(tmp_path).read_text()
    # A folder that was moved takes the profile with it.
    moved = tmp_path.with_name(tmp_path.name + "_moved")
    tmp_path.rename(moved)
    assert Profile.load(moved) == dataclasses.replace(saved, model=str(moved))


def test_the_profile_lies_beside_the_model(tmp_path):
    assert profile_path(tmp_path) == tmp_path / "profile.json"
    assert profile_path(tmp_path / "small.keras") == tmp_path / "small.profile.json"


def test_a_line_through_the_predictions():
    line = profile(size(40, 50, 10.0, 2.0))
    assert line.latency(line.sizes[0]) == timing.Latency((0,), (10.0,), 2.0)
    assert line.milliseconds(40, 50, 5) == pytest.approx(20.0)


def test_times_step_up_where_the_encoder_has_to_run_on(tmp_path):
    numbers = {1: 11.0, 2: 22.0, 3: 33.0, 6: 36.0, 12: 42.0}
    sizes = [SizeProfile(20, 20, STAGES, numbers)]
    sizes.append(SizeProfile(40, 40, STAGES, {n: 2 * time for n, time in numbers.items()}))
    staged = dataclasses.replace(profile(*sizes, model=tmp_path), first_iterations=(0, 1, 2))
    assert [staged.milliseconds(20, 20, n) for n in (1, 2, 3, 4, 12)] == [11, 22, 33, 34, 42]
    assert staged.milliseconds(25, 40, 2) == pytest.approx(33.0)  # half way between the two
    staged.save()
    assert Profile.load(tmp_path) == staged


def test_the_table_has_a_formula_for_each_stage_of_the_encoder():
    stages = {name: Stage(1000, 2_000_000) for name in STAGES}
    costs = StageCosts(8 * 10**9, 10**9, 2 * 10**9, 10**9)
    plain = report.profile_table(profile(size(40, 50, 10.0, 2.0)), [costs], [stages]).splitlines()
    assert plain[-1] == "n iterations take 10.00 ms + n * 2.00 ms"
    assert [line.split() for line in plain if line.startswith(("refine", "n = 6"))] == [
        ["refine", "2.00", "2.000", "2.0"], ["n", "=", "6", "22.00", "22.000", "2.0"]
    ]  # fmt: skip
    times = {1: 11.0, 2: 22.0, 3: 23.0, 4: 34.0, 8: 38.0}
    staged = dataclasses.replace(
        profile(SizeProfile(40, 50, STAGES, times)), first_iterations=(0, 1, 3)
    )
    early = (EarlyCosts(1, 2 * 10**9, 10**8), EarlyCosts(3, 4 * 10**9, 10**8))
    costs = dataclasses.replace(costs, early=early)
    assert report.profile_table(staged, [costs], [stages]).splitlines()[-3:] == [
        "n iterations take 10.00 ms + n * 1.00 ms for n = 1",
        "n iterations take 20.00 ms + n * 1.00 ms for n = 2 to 3",
        "n iterations take 30.00 ms + n * 1.00 ms for n = 4 and more",
    ]


def test_profiles_of_earlier_versions_load(tmp_path):
    old = profile(size(40, 50, 10.0, 2.0), model=tmp_path)
    old.save()
    path = profile_path(tmp_path)
    content = json.loads(path.read_text())
    del content["first_iterations"]
    path.write_text(json.dumps(content))
    assert Profile.load(tmp_path) == old


def test_a_scaled_image_is_read_at_its_own_size():
    small = SizeProfile(11, 11, STAGES | {"read": 1.0}, {n: 10.0 + n for n in (1, 2, 6)})
    large = SizeProfile(21, 21, STAGES | {"read": 4.0}, {n: 40.0 + 4 * n for n in (1, 2, 6)})
    measured = profile(small, large)
    assert measured.milliseconds(21, 21, 3, scale=0.5) == pytest.approx(13.0 - 1.0 + 4.0)
    assert measured.milliseconds(21, 21, 3, scale=1.0) == pytest.approx(52.0)
    with pytest.raises(UserError, match="31x31 is larger than any"):
        measured.milliseconds(31, 31, 3, scale=0.5)


def test_sizes_between_are_interpolated_by_their_pixels():
    measured = profile(size(10, 10, 10.0, 1.0), size(20, 20, 40.0, 4.0), size(30, 30, 50.0, 6.0))
    assert measured.milliseconds(20, 20, 3) == pytest.approx(52.0)
    assert measured.milliseconds(10, 40, 3) == pytest.approx(52.0)  # on its side
    assert measured.milliseconds(7, 25, 3) == pytest.approx((3 * 13.0 + 52.0) / 4)
    assert measured.milliseconds(10, 65, 1) == pytest.approx((44.0 + 56.0) / 2)
    assert measured.milliseconds(5, 5, 3) == pytest.approx(13.0)  # never less than the smallest
    with pytest.raises(UserError) as error:
        measured.milliseconds(31, 30, 1)
    assert "31x30 is larger than any in run.profile.json" in str(error.value)
    assert "rnnseg benchmark run --size 10x10,20x20,30x30,31x30 --save" in str(error.value)


def test_a_file_that_is_no_profile_is_named(tmp_path):
    command = f"rnnseg benchmark {tmp_path} --size HEIGHTxWIDTH --save"
    with pytest.raises(UserError, match=f"profile.json: no such profile; .*: {command}"):
        Profile.load(tmp_path)
    profile(size(40, 50, 10.0, 2.0), model=tmp_path).save()
    path = tmp_path / "profile.json"
    content = json.loads(path.read_text())
    (first,) = content["sizes"]
    for changes, fault in (
        ({"sizes": []}, r"sizes is \[\], expected 1 or more elements"),
        ({"sizes": [{}]}, r"sizes\[0\].height is missing"),
        ({"sizes": [first | {"width": -50}]}, r"sizes\[0\].width is -50, expected at least 1"),
        ({"sizes": [first | {"predictions": {}}]}, r"sizes\[0\].predictions is \{\}, expected 1"),
        (
            {"sizes": [first | {"predictions": {"1": -9}}]},
            r"sizes\[0\].predictions.1 is -9, expected at least 0",
        ),
        (
            {"sizes": [first | {"stages": {"read": "1"}}]},
            r'sizes\[0\].stages.read is "1", expected a number',
        ),
        ({"sizes": [first, first | {"height": 20}]}, "sizes do not rise from 2000"),
        ({"first_iterations": [1, 2]}, "first_iterations do not rise from 0"),
        ({"machine": 3}, "machine is 3, expected an object"),
        ({"parameters": None}, "parameters is null, expected a whole number"),
        ({"tensorflow": 2.2}, "tensorflow is 2.2, expected a text"),
    ):
        path.write_text(json.dumps(content | changes))
        with pytest.raises(UserError, match=f"^{path}: {fault}.*; measure it anew: {command}"):
            Profile.load(tmp_path)
    for text, fault in (("no json", "not valid JSON"), ("[]", "the content is")):
        path.write_text(text)
        with pytest.raises(UserError, match=f"^{path}: {fault}.*; measure it anew: {command}"):
            Profile.load(tmp_path)


def test_this_machine():
    machine = Machine.this()
    assert machine.processor and machine.cores >= 1
    text = json.dumps(dataclasses.asdict(machine))
    assert schemas.check(json.loads(text), Machine, "here", "") == machine
    assert str(Machine("chip", 1, ("card",))) == "chip, 1 core, card"
