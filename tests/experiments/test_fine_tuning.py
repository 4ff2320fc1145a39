import pytest

from experiments import fine_tuning
from rnnseg.models.loading import load_model
from rnnseg.training import loop
from tests.support.commands import read_csv, run
from tests.support.models import make_model
from tests.support.sources import tiny_source


@pytest.fixture
def arguments(open_as, tmp_path, monkeypatch):
    """Those of a small preset of other classes, and of two epochs against one."""
    source = open_as(tiny_source())
    monkeypatch.setattr(loop, "open_source", lambda name: source)
    monkeypatch.setattr(fine_tuning, "ITERATIONS", (1, 3))
    make_model(num_classes=5).save_to_preset(tmp_path / "preset")
    recipe = tmp_path / "recipe.py"
    options = dict(encoder="small_cnn", freeze_batch_norm=False, encoder_weights=None)
    options |= dict(output_stride=8, crop=(34, 34), batch_size=4, hidden_channels=(99,))
    recipe.write_text(f"RECIPE = {options!r}")
    return [
        *("--recipe", recipe, "--data", "tiny", "--out", tmp_path / "runs"),
        *("--preset", tmp_path / "preset", "--epochs", "1,2", "--scale", 0.5),
    ]


def test_both_starts_have_the_architecture_of_the_preset(arguments, tmp_path):
    printed = run(fine_tuning.main, *arguments)
    assert "took encoder" in printed
    rows = read_csv(tmp_path / "runs" / "fine_tuning.csv")
    assert [(each["start"], each["epochs"]) for each in rows] == [
        (str(tmp_path / "preset"), "1"),
        ("", "2"),
    ]
    assert all(0 <= float(each["n = 3"]) <= 100 for each in rows)
    old = load_model(tmp_path / "preset")
    for name in ("preset_1_epochs_seed1", "encoder_2_epochs_seed1"):
        model = load_model(tmp_path / "runs" / name / "last.keras")
        assert model.stack.widths[:-1] == old.stack.widths[:-1] and model.num_classes == 3
    assert "Epoch 1" not in run(fine_tuning.main, *arguments)  # all is kept
