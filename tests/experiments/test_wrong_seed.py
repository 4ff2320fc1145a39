import itertools

import numpy as np
import pytest

from experiments import seeding, truth_seed, wrong_seed
from tests.support.commands import fail, image_size, read_csv, run
from tests.support.sources import halves, make_source


class Oracle:
    """Runs of a model that moves every logit by one an iteration, towards the brightness' class."""

    def __init__(self, iterations):
        self.model = self
        self.iterations, self.num_classes = iterations, 3
        self.output_stride = self.canvas_stride = 8
        self.class_names = None

    def _increments(self, image):
        grey = image[::8, ::8, 0].astype(int)
        classes = np.digitize(grey, (80, 170))
        return np.where(classes[..., None] == np.arange(3), 1.0, -1.0)

    def initial(self, image):
        numbers = np.arange(1, self.iterations + 1)[:, None, None, None]
        return np.float32(numbers * self._increments(image))

    def seeded(self, image, seed):
        return np.concatenate([seed[None], seed + self.initial(image)])

    read, seed = seeding.Runs.read, seeding.Runs.seed


def test_a_wrong_seed_is_overruled_as_soon_as_arithmetic_allows(source):
    """An iteration moves each logit by one, the own canvas is worth four after four of them."""
    runs = Oracle(iterations=4)
    strengths = (0.125, 0.375, 0.625)  # 0.5, 1.5 and 2.5 logits: overruled after 1, 2 and 3
    seen = list(wrong_seed.seed_images(runs, source, "val", [0, 1, 2], strengths))
    rows = list(itertools.chain.from_iterable(each.rows for each in seen))
    assert len(seen) == 3 and len(rows) == 3 * (4 + 3 * 5)
    for row in rows:
        assert row.wrong_class != row.object_class
        if row.canvas == wrong_seed.INITIAL:
            assert row.iou > 0.8 and row.wrong < 0.1 and row.right > 0.9
        # Between canvas pixels there is some of either class at the object's border.
        elif row.iterations <= row.logits:
            assert row.wrong > 0.75 and row.right < 0.25
        else:
            assert row.wrong < 0.25 and row.right > 0.75
    lines = wrong_seed.correction_table(
        rows, ["initial", "0.125", "0.375", "0.625"], 4
    ).splitlines()
    cells = [line.strip("| ").split(" | ") for line in lines[4:]]
    assert [each[:5] for each in cells] == [
        ["0.125", "0.50", "1", "100", "0"],
        ["0.375", "1.50", "2", "100", "0"],
        ["0.625", "2.50", "3", "0", "0"],
    ]
    assert [each[5] for each in cells] == ["1", "2", "3"]


def test_wrong_classes_are_absent_while_there_are_such():
    rng = np.random.default_rng(1)
    label = np.array([[0, 1, 1, 255]])
    drawn = {wrong_seed.choose_classes(label, [1, 2, 3], rng) for _ in range(50)}
    assert drawn == {(1, 2), (1, 3)}
    assert {wrong_seed.choose_classes(label, [0, 1], rng) for _ in range(9)} == {(1, 0)}
    assert wrong_seed.choose_classes(label, [2, 3], rng) is None
    np.testing.assert_array_equal(
        wrong_seed.first_iteration(np.array([[0, 1, 0], [1, 1, 1], [0, 0, 0]], bool)),
        [2, 1, np.inf],
    )


def test_wrong_seed_command(models, source, tmp_path):
    out = tmp_path / "wrong"
    printed = run(wrong_seed.main, models / "model.keras", "--data", "tiny", "--iterations", 3,
                  "--out", out, "--strip", tmp_path / "strip.png", "--image", 1)  # fmt: skip
    rows = read_csv(f"{out}.csv")
    assert len(rows) == 3 * (3 + 4 * 4) and "of 3 images" in printed
    for row in rows:
        assert 0 <= float(row["wrong"]) <= 1 and 0 <= float(row["iou"]) <= float(row["right"]) <= 1
    assert image_size(f"{out}.png")[0] == 1500 and image_size(tmp_path / "strip.png")[0] > 1000
    arguments = ["--data", "tiny", "--out", out]
    message = fail(wrong_seed.main, models / "feed_forward.keras", *arguments)
    assert "is feed-forward" in message
    message = fail(wrong_seed.main, models / "model.keras", *arguments, "--classes", "left,sofa")
    assert "no class of tiny is called 'sofa'" in message


@pytest.mark.parametrize("command", [wrong_seed.main, truth_seed.main])
def test_a_strip_of_no_image_is_refused_before_any_work(models, source, tmp_path, command):
    out, strip = tmp_path / "seeds", tmp_path / "strip.png"
    arguments = ["--data", "tiny", "--out", out, "--strip", strip, "--image", 3]
    message = fail(command, models / "model.keras", *arguments)
    assert "--image 3: expected 0 to 2, the images of val" in message
    assert not strip.exists() and not out.with_suffix(".csv").exists()


def test_the_strip_of_a_wrong_seed_is_of_the_splits_image(models, open_as, tmp_path, monkeypatch):
    """Also where images before it have no object."""
    plain, *others = halves(3, 41, 57)
    plain = plain[0], np.zeros_like(plain[1])
    open_as(make_source({"val": [plain, *others]}, class_names=("background", "b", "c")))
    drawn = []
    monkeypatch.setattr(wrong_seed, "save_starts", lambda path, image, *rest: drawn.append(image))
    arguments = [models / "model.keras", "--data", "tiny", "--iterations", 2, "--out",
                 tmp_path / "wrong", "--strip", tmp_path / "strip.png", "--image"]  # fmt: skip
    run(wrong_seed.main, *arguments, 1)
    np.testing.assert_array_equal(drawn, [others[0][0]])
    message = fail(wrong_seed.main, *arguments, 0)
    assert "val_0 shows none of these classes" in message
