import numpy as np
import pytest
from PIL import Image

from experiments import video_strips
from rnnseg.budgets.costs import stage_costs
from rnnseg.models.loading import load_model
from tests.support.commands import fail, read_csv, run


def test_video_strips_command(models, tmp_path):
    pytest.importorskip("cv2")
    pytest.importorskip("av")
    clip = tmp_path / "clip"
    clip.mkdir()
    rng = np.random.default_rng(0)
    for number in range(4):
        noise = rng.integers(0, 20, (48, 64, 3))
        Image.fromarray(np.uint8(100 + noise)).save(clip / f"{number}.png")
    out = tmp_path / "video.png"
    run(video_strips.main, models / "model.keras", models / "feed_forward.keras", "--clip", clip,
        "--iterations", 1, "--frames", 3, "--out", out)  # fmt: skip
    rows = read_csv(out.with_suffix(".csv"))
    assert [(row["system"], row["iterations"]) for row in rows] == [
        *(("model, 1 seeded", number) for number in "2111"), *(("feed_forward", "1"),) * 4
    ]  # fmt: skip
    for name, start in (("model", 0), ("feed_forward", 4)):
        costs = stage_costs(load_model(models / f"{name}.keras"), 48, 64)
        assert float(rows[start + 1]["gmacs"]) == pytest.approx(costs.total(1) / 1e9)
    assert rows[4]["kept"] == "" and 0 <= float(rows[5]["kept"]) <= 100
    message = fail(video_strips.main, models / "feed_forward.keras", models / "model.keras",
                   "--clip", clip, "--out", out)  # fmt: skip
    assert "expected a recurrent model" in message
