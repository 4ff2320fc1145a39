import pytest

from experiments import variants
from rnnseg.evaluation.evaluator import Evaluator
from rnnseg.models.loading import load_model
from rnnseg.models.registry import MODELS
from rnnseg.training import loop
from tests.support.commands import fail, read_csv, run
from tests.support.sources import tiny_source

VALUES = dict(data="tiny", crop=(41, 60), scale=(0.75, 1.75), iterations=6)


@pytest.fixture
def arguments(open_as, tmp_path, monkeypatch):
    """Those of two small variants."""
    source = open_as(tiny_source())
    monkeypatch.setattr(loop, "open_source", lambda name: source)
    monkeypatch.setattr(variants, "ITERATIONS", (1, 3))
    monkeypatch.setattr(variants, "_COSTS", (1, 3))
    layers = {"skip_layers": ("stride4_conv1_relu",), "canvas_stride": 4}
    small = {"plain": layers, "scaled": layers | {"increment_scale": 2.0}}
    small["feed-forward"] = {"model": "pspnet", "head_channels": 8}
    monkeypatch.setattr(variants, "VARIANTS", small)
    recipe = tmp_path / "recipe.py"
    options = dict(encoder="small_cnn", freeze_batch_norm=False, encoder_weights=None)
    options |= dict(output_stride=8, crop=(34, 34), batch_size=4, epochs=9)
    recipe.write_text(f"RECIPE = {options!r}")
    return ["--recipe", recipe, "--data", "tiny", "--epochs", 1, "--out", tmp_path / "runs"]


def test_every_variant_is_trained_and_scored_at_half_size(arguments, tmp_path, open_as):
    out = tmp_path / "runs"
    printed = run(variants.main, *arguments)
    rows = read_csv(out / "variants.csv")
    assert [each["variant"] for each in rows] == ["plain", "scaled", "feed-forward"]
    assert rows[2]["n = 1"] and rows[2]["n = 3"] == ""  # it has no third iteration
    assert "| variant | n = 1 | n = 3 | G at 1 | G at 3 |" in printed
    model = load_model(out / "scaled_seed1" / "last.keras")
    assert model.stack.increment_scale is not None
    result = Evaluator(model, (1, 3), (0.5,))(tiny_source(), "val", progress=False)
    assert [rows[1]["n = 1"], rows[1]["n = 3"]] == [f"{100 * each:.1f}" for each in result.miou]
    # A second call with another seed keeps what there is, and shows the spread.
    kept = {path: path.stat().st_mtime_ns for path in out.glob("*_seed1/**/*") if path.is_file()}
    printed = run(variants.main, *arguments, "--seeds", "1,2", "--variants", "plain")
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    assert printed.count("±") == 2


@pytest.mark.parametrize("name", variants.VARIANTS)
def test_every_variant_can_be_built(name):
    config = variants.short_config(name, VALUES)
    smallest, largest = variants.VARIANTS[name].get("scale", (0.75, 1.75))
    assert config.crop == (20, 30) and config.scale == (smallest / 2, largest / 2)
    model = MODELS[config.model](3, **config.model_options | {"encoder_weights": None})
    assert model.first_iterations[-1] < config.iterations
    assert variants.folder_name(name).replace("_", "").isalnum()


def test_every_variant_has_its_folder():
    folders = {variants.folder_name(name) for name in variants.VARIANTS}
    assert len(folders) == len(variants.VARIANTS)


def test_unknown_variants_are_named(arguments):
    assert "expected some of plain; scaled; feed-forward" in fail(
        variants.main, *arguments, "--variants", "x"
    )
