import numpy as np
import pytest
from PIL import Image

from experiments import video as experiment
from rnnseg import Budget
from rnnseg.budgets import costs as budgets
from tests.support.commands import image_size, read_csv, run
from tests.support.models import make_model
from tests.video import clips


def test_measures_accuracy_cost_and_consistency(tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "ITERATIONS", (2,))
    model = make_model(iterations=3)
    model.save(tmp_path / "model.keras")
    frames = clips.scene(4)
    rng = np.random.default_rng(0)
    labels = [rng.integers(0, 5, (48, 64)).astype(np.uint8) for _ in frames]  # 4: ignored
    for folder, images in (("val", frames), ("valannot", labels)):
        (tmp_path / folder).mkdir()
        for number, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / folder / f"{number}.png")
    other = clips.write(tmp_path / "other.mp4", clips.scene(7, seed=2))
    printed = run(
        experiment.main, tmp_path / "model.keras", "--camvid", tmp_path, "--clip", other,
        "--csv", tmp_path / "rows.csv", "--sheet", tmp_path / "sheet.png",
    )  # fmt: skip
    rows = read_csv(tmp_path / "rows.csv")
    assert len(rows) == 2 * len(experiment.SEEDS)
    assert sum(line.startswith(("| CamVid", "| other")) for line in printed.split("\n")) == 12
    blank, all_of_it = rows[:2]
    maps = [model.predict_classes(frame, Budget(iterations=2)) for frame in frames]
    counted = np.stack(labels) < 4
    matches = [
        [np.sum((np.stack(labels) == truth) & (np.stack(maps) == found) & counted)
         for found in range(4)] for truth in range(4)
    ]  # fmt: skip
    matches = np.array(matches)
    union = matches.sum(0) + matches.sum(1) - matches.diagonal()
    assert float(blank["score"]) == pytest.approx(100 * np.mean(matches.diagonal() / union))
    kept = [np.mean(first == second) for first, second in zip(maps, maps[1:], strict=False)]
    assert float(blank["kept"]) == pytest.approx(100 * np.mean(kept))
    costs = budgets.stage_costs(model, 48, 64)
    assert float(blank["gmacs"]) == pytest.approx(costs.total(2) / 1e9)
    assert float(all_of_it["gmacs"]) == pytest.approx(costs.total((3 + 2 + 2 + 2) / 4) / 1e9)
    assert rows[-1]["score"] == "" and rows[-1]["clip"] == "other"
    assert image_size(tmp_path / "sheet.png")[0] > 300


def test_a_davis_sequence_counts_its_object_alone(tmp_path):
    model = make_model(class_names=("sky", "dog", "car", "cow"))
    found = experiment.find_clips(model, None, tmp_path, ())
    assert [(clip.name, clip.object_class) for clip in found] == [
        ("DAVIS dog", 1),
        ("DAVIS car-shadow", 2),
    ]
    way = experiment._Way(model, experiment.KerasEngine(model), "blank", 1)
    frame = clips.scene(1)[0]
    classes = model.predict_classes(frame, Budget(iterations=1))
    found, mask = int(np.bincount(classes.ravel()).argmax()), np.zeros((48, 64), np.uint8)
    mask[:24] = 255
    way.segment(frame, mask, found, None)
    overlap = ((mask > 0) & (classes == found)).sum() / ((mask > 0) | (classes == found)).sum()
    assert way._ious == [pytest.approx(overlap)]
