import dataclasses
import json

import pytest

from rnnseg import UserError
from rnnseg.temporaries import Owner
from rnnseg.training.config import TrainingConfig
from rnnseg.training.runs import Run

CONFIG = TrainingConfig(data="shapes", crop=(32, 40), hidden_channels=(8, 6), epochs=3)
ROW = {
    "loss": 0.5,
    "learning_rate": 0.01,
    "val_loss": "",
    "val_miou_1_iteration": "",
    "val_miou": "",
}
ROWS = [{"epoch": epoch, "step": step} | ROW for epoch, step in ((1, 2), (2, 7), (3, 11))]


@pytest.fixture
def run(tmp_path):
    """A run that has begun."""
    run = Run(tmp_path / "run")
    run.check(CONFIG, resume=False)
    run.begin(CONFIG)
    return run


def test_config_json_gives_the_configuration_again(run):
    assert TrainingConfig.from_json(json.loads(run.config.read_text())) == CONFIG


def test_a_run_continues_only_if_asked_and_with_the_same_configuration(run):
    before = run.config.read_bytes()
    with pytest.raises(UserError, match="holds a run already: .*--resume"):
        run.check(CONFIG, resume=False)
    with pytest.raises(UserError, match=r"another run: crop is \[32, 40\] there, not \[32, 48\]$"):
        run.check(dataclasses.replace(CONFIG, crop=(32, 48)), resume=True)
    run.check(CONFIG, resume=True)
    run.begin(CONFIG)
    assert run.config.read_bytes() == before


def test_a_run_of_an_earlier_version_continues(run):
    """It has old names, and lacks the options that were added since, whose defaults it used."""
    content = json.loads(run.config.read_text())
    content["sampled_cells"] = content.pop("sampled_patches")
    del content["label_smoothing"]
    run.config.write_text(json.dumps(content))
    with pytest.warns(DeprecationWarning, match="sampled_cells is now called sampled_patches"):
        run.check(CONFIG, resume=True)
    config = dataclasses.replace(CONFIG, label_smoothing=0.3)
    with (
        pytest.warns(DeprecationWarning),
        pytest.raises(UserError, match="another run: label_smoothing is 0.* there, not 0.3$"),
    ):
        run.check(config, resume=True)


@pytest.mark.parametrize("resume", [True, False])
def test_a_folder_with_other_files_is_refused(tmp_path, resume):
    (tmp_path / "a.jpg").write_text("a photograph")
    for path in (tmp_path, tmp_path / "a.jpg"):
        with pytest.raises(UserError, match="is not empty and holds no run: choose another --out"):
            Run(path).check(CONFIG, resume)


@pytest.mark.parametrize(
    "changes, message",
    [
        ("{", "not valid JSON"),
        ("", "not valid JSON .it is empty"),
        ("[]", r"the content is \[\], expected an object"),
        ("3", "the content is 3, expected an object"),
        ('{"epochs": NaN}', "epochs is nan, expected a finite number"),
        ({"epochs": "3"}, "epochs='3': expected a whole number"),
        ({"epochs": -3}, "epochs=-3: expected"),
        ({"epochs": None}, "epochs=None: expected a whole number"),
        ({"iterations": 10**12}, "iterations=1000000000000: expected"),
        ({"iterations": [], "iteration_weights": None}, r"iterations=\[\]: expected a whole"),
        ({"crop": [32]}, r"crop=\[32\]: expected 2 numbers"),
        ({"crop": [32, {}]}, r"crop=\[32, \{\}\]: expected a whole number"),
        ({"encoder": []}, r"encoder=\[\]: expected a text"),
        ({"model": ["recurrent"]}, r"model=\['recurrent'\]: expected a text"),
        ({"loss": {}}, r"loss=\{\}: expected a text"),
        ({"of_a_later_version": 1}, "of_a_later_version is no option of this version"),
        ({"data": ...}, "data is missing"),
    ],
)
def test_a_damaged_configuration_is_named(run, changes, message):
    content = changes
    if not isinstance(changes, str):
        content = json.loads(run.config.read_text()) | changes
        content = json.dumps({key: value for key, value in content.items() if value is not ...})
    run.config.write_text(content)
    with pytest.raises(UserError, match=f"config.json: .*{message}.*; restore the file, or choose"):
        run.check(CONFIG, resume=True)


def test_partly_written_files_are_removed(tmp_path):
    """Only those of a process that is gone; a folder with nothing else is empty."""
    gone = dataclasses.replace(Owner.this(), process=2**22 + 1)
    names = (f".incomplete.{gone}.abc.json", f".incomplete.{gone}.abc.keras", ".DS_Store")
    left = [tmp_path / name for name in names]
    for path in left:
        path.write_text("half")
    run = Run(tmp_path)
    run.check(CONFIG, resume=True)
    run.begin(CONFIG)
    assert sorted(tmp_path.iterdir()) == [left[2], run.config]


def test_the_history_ends_with_the_epoch_of_a_step(run):
    """The steps are irregular: with float16, the optimizer skips steps that overflow."""
    assert run.read_history() == []
    run.write_history(ROWS)
    expected = [{key: str(value) for key, value in row.items()} for row in ROWS]
    assert run.read_history() == expected
    for number, row in enumerate(ROWS, start=1):
        assert run.history_until(row["step"]) == expected[:number]
    with pytest.raises(UserError, match="history.csv has no line for step 8 of .*last.keras"):
        run.history_until(8)


@pytest.mark.parametrize(
    "line, message",
    [
        ("1,2,0.5,0.1,,", "expected 7 fields, as in the first line"),
        ("1,2,0.5,0.1,,,,", "expected 7 fields, as in the first line"),
        ("one,2,0.5,0.1,,,", 'epoch is "one", expected a whole number'),
        (",2,0.5,0.1,,,", "epoch is null, expected a whole number"),
        ("1.0,2,0.5,0.1,,,", "epoch is '1.0', expected 1"),
        ("-1,2,0.5,0.1,,,", 'epoch is "-1", expected at least 1'),
        ("1,2,nan,0.1,,,", "loss is .*nan.*, expected"),
        ("1,2,0.5,-0.1,,,", 'learning_rate is "-0.1", expected at least 0'),
        ("1,2,0.5,0.1,,,x", 'val_miou is "x", expected a number'),
        ("1,2,0.5,0.1,,120,9", 'val_miou_1_iteration is "120", expected at most 100'),
        ("\xff", "no UTF-8 text"),
    ],
)
def test_a_damaged_history_is_named(run, line, message):
    header = ",".join(["epoch", "step", *ROW])
    run.history.write_bytes(f"{header}\n{line}\n".encode("latin-1"))
    with pytest.raises(UserError, match=f"history.csv(, line 2)?: {message}.*; restore the file"):
        run.read_history()


@pytest.mark.parametrize("column", ["epoch", "step", "loss", "learning_rate", "val_miou"])
def test_a_history_without_a_column_is_damaged(run, column):
    run.write_history([{key: value for key, value in ROWS[0].items() if key != column}])
    with pytest.raises(UserError, match=f"history.csv, line 2: {column} is missing"):
        run.history_until(4)


def test_the_history_of_an_earlier_version_is_in_percent_and_has_no_validation_loss(run):
    """As version 0.1.0 wrote it, with epochs that were not validated."""
    run.history.write_text(
        "epoch,step,loss,learning_rate,val_miou_1_iteration,val_miou\n"
        "1,4,1.5,0.03,,\n2,8,1.25,0.02,0.25,0.5\n"
    )
    rows = run.history_until(8)
    assert [row["val_miou"] for row in rows] == ["", "50.0"]
    assert [row["val_miou_1_iteration"] for row in rows] == ["", "25.0"]
    new = dict.fromkeys(rows[0], 1.0) | {"epoch": 3, "step": 12, "val_loss": 0.75}
    run.write_history([*rows, new])
    assert run.read_history()[:2] == rows
    assert [row["val_loss"] for row in run.read_history()] == ["", "", "0.75"]
