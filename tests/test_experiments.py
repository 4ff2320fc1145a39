import numpy as np
from click.testing import CliRunner

from experiments import curve_shape
from rnnseg import data
from rnnseg.data.pipeline import decode
from tests.models import make_model
from tests.sources import tiny_source


def test_curve_shape_prints_frequent_classes_and_increments(tmp_path, monkeypatch):
    source = tiny_source(val=12)
    monkeypatch.setattr(data, "open_source", lambda name: source)
    model = make_model(num_classes=3)
    model.save(tmp_path / "model.keras")
    arguments = [str(tmp_path / "model.keras"), "--data", "tiny", "--iterations", "3"]
    result = CliRunner().invoke(curve_shape.main, [*arguments, "--pictures", "5"])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "in 5 or more pictures: left, right, top"
    rows = np.array([line.split() for line in lines[-3:]], float)
    np.testing.assert_allclose(rows[:, 1], rows[:, 2])
    assert np.all(rows[:, 3] < 1)
    increments, leads = curve_shape._canvas_moves(model, source, "val", 3, every=100)
    first = next(source.read("val").as_numpy_iterator())
    canvases = model.trace(decode(first)[0][None], 3).numpy()
    np.testing.assert_allclose(increments[1], np.abs(canvases[1] - canvases[0]).mean(), rtol=1e-4)
    top = np.sort(canvases[2], -1)
    np.testing.assert_allclose(leads[2], (top[..., -1] - top[..., -2]).mean(), rtol=1e-4)
