import csv
import itertools
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from experiments import (
    iteration_strips,
    overview,
    rise,
    seeding,
    spectra,
    truth_seed,
    video_strips,
    wrong_seed,
)
from rnnseg import data, visualize
from rnnseg.budgets.costs import stage_costs
from rnnseg.evaluation import metrics
from rnnseg.evaluation.evaluator import Evaluator
from rnnseg.inference.predictor import Predictor
from rnnseg.models.baselines.deeplabv3 import DeepLabV3
from rnnseg.models.loading import load_model
from tests.support.models import make_model
from tests.support.sources import halves, make_source


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def size_of(path):
    with Image.open(path) as image:
        return image.size


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of three classes that an image's brightness does not tell, and one of its rivals."""
    folder = tmp_path_factory.mktemp("figures")
    make_model(num_classes=3, iterations=2).save(folder / "model.keras")
    DeepLabV3(3, encoder="small_cnn", encoder_weights=None, output_stride=8, head_channels=4).save(
        folder / "rival.keras"
    )
    return folder


@pytest.fixture
def source(monkeypatch):
    source = make_source({"val": halves(3, 41, 57)})
    monkeypatch.setattr(data, "open_source", lambda name: source)
    return source


def run(command, *arguments):
    result = CliRunner().invoke(command, [str(each) for each in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


class Oracle:
    """Runs of a model that moves every logit by one an iteration, towards the brightness' class."""

    def __init__(self, iterations):
        self.model = self
        self.iterations, self.num_classes, self.output_stride = iterations, 3, 8
        self.class_names = None

    def _increments(self, image):
        grey = image[::8, ::8, 0].astype(int)
        classes = np.digitize(grey, (80, 170))
        return np.where(classes[..., None] == np.arange(3), 1.0, -1.0)

    def blank(self, image):
        numbers = np.arange(1, self.iterations + 1)[:, None, None, None]
        return np.float32(numbers * self._increments(image))

    def seeded(self, image, seed):
        return np.concatenate([seed[None], seed + self.blank(image)])

    read, seed = seeding.Runs.read, seeding.Runs.seed


# --- seeds ---


def test_runs_are_the_models_own(folder, source):
    model = load_model(folder / "model.keras")
    runs = seeding.Runs(model, 3)
    ((image, label, _), *_) = seeding.examples(model, source, "val")
    blank = runs.blank(image)
    np.testing.assert_allclose(blank, model.unroll(image[None], 3)[:, 0], atol=1e-5)
    seed = runs.seed(label, 2.5)
    known = label[::8, ::8] != 255
    assert seed.shape == blank[0].shape and set(np.unique(seed)) == {-2.5, 0, 2.5}
    np.testing.assert_array_equal(seed.argmax(-1)[known], label[::8, ::8][known])
    np.testing.assert_array_equal(seed[~known], 0)
    seeded = runs.seeded(image, seed)
    np.testing.assert_array_equal(seeded[0], seed)
    prepared = model.prepare(model.encode(image[None]))
    expected, _ = model.refine(prepared, 3, canvas=seed[None])
    np.testing.assert_allclose(seeded[3], expected[0], atol=1e-5)
    maps = runs.read(blank, label.shape)
    np.testing.assert_array_equal(maps[1], list(Predictor(model).every_iteration(image, 2))[1])
    # What a seed of some strength has is what is found again.
    assert seeding.strength(seed[known]) == pytest.approx(2.5)


def test_a_wrong_seed_is_overruled_as_soon_as_arithmetic_allows(source):
    """An iteration moves each logit by one, the own canvas is worth four after four of them."""
    runs = Oracle(iterations=4)
    strengths = (0.125, 0.375, 0.625)  # 0.5, 1.5 and 2.5 logits: overruled after 1, 2 and 3
    seen = list(wrong_seed.watch(runs, source, "val", [0, 1, 2], strengths))
    rows = list(itertools.chain.from_iterable(each.rows for each in seen))
    assert len(seen) == 3 and len(rows) == 3 * (4 + 3 * 5)
    for row in rows:
        assert row.wrong_class != row.object_class
        if row.start == wrong_seed.BLANK:
            assert row.iou > 0.8 and row.wrong < 0.1 and row.right > 0.9
        # Between canvas pixels there is some of either class at the object's border.
        elif row.iterations <= row.logits:
            assert row.wrong > 0.75 and row.right < 0.25
        else:
            assert row.wrong < 0.25 and row.right > 0.75
    lines = wrong_seed.correction_table(rows, ["blank", "0.125", "0.375", "0.625"], 4).splitlines()
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


def test_wrong_seed_command(folder, source, tmp_path):
    out = tmp_path / "wrong"
    printed = run(wrong_seed.main, folder / "model.keras", "--data", "tiny", "--iterations", 3,
                  "--out", out, "--strip", tmp_path / "strip.png", "--image", 1)  # fmt: skip
    rows = read_csv(f"{out}.csv")
    assert len(rows) == 3 * (3 + 4 * 4) and "of 3 images" in printed
    for row in rows:
        assert 0 <= float(row["wrong"]) <= 1 and 0 <= float(row["iou"]) <= float(row["right"]) <= 1
    assert size_of(f"{out}.png")[0] == 1500 and size_of(tmp_path / "strip.png")[0] > 1000
    result = CliRunner().invoke(wrong_seed.main, [
        str(folder / "rival.keras"), "--data", "tiny", "--out", str(out)])  # fmt: skip
    assert result.exit_code == 2 and "is feed-forward" in result.stderr
    result = CliRunner().invoke(wrong_seed.main, [
        str(folder / "model.keras"), "--data", "tiny", "--classes", "left,sofa", "--out", str(out)
    ])  # fmt: skip
    assert result.exit_code == 2 and "no class of tiny is called 'sofa'" in result.stderr


@pytest.mark.parametrize("command", [wrong_seed.main, truth_seed.main])
def test_a_strip_of_no_image_is_refused_before_any_work(folder, source, tmp_path, command):
    out, strip = tmp_path / "seeds", tmp_path / "strip.png"
    result = CliRunner().invoke(command, [
        str(folder / "model.keras"), "--data", "tiny", "--out", str(out), "--strip", str(strip),
        "--image", "3"])  # fmt: skip
    assert result.exit_code == 2 and "--image 3: expected 0 to 2, those of val" in result.stderr
    assert not strip.exists() and not out.with_suffix(".csv").exists()


def test_the_strip_of_a_wrong_seed_is_of_the_splits_image(folder, tmp_path, monkeypatch):
    """Also where images before it have no object."""
    plain, *others = halves(3, 41, 57)
    plain = plain[0], np.zeros_like(plain[1])
    source = make_source({"val": [plain, *others]}, class_names=("background", "b", "c"))
    monkeypatch.setattr(data, "open_source", lambda name: source)
    drawn = []
    monkeypatch.setattr(wrong_seed, "save_starts", lambda path, image, *rest: drawn.append(image))
    arguments = [folder / "model.keras", "--data", "tiny", "--iterations", 2, "--out",
                 tmp_path / "wrong", "--strip", tmp_path / "strip.png", "--image"]  # fmt: skip
    run(wrong_seed.main, *arguments, 1)
    np.testing.assert_array_equal(drawn, [others[0][0]])
    result = CliRunner().invoke(wrong_seed.main, [str(each) for each in (*arguments, 0)])
    assert result.exit_code == 2 and "val_0 shows none of these classes" in result.stderr


def test_hulls_and_counts_of_a_known_shape():
    label = np.zeros((30, 40), np.uint8)
    label[5:15, 5:15] = 1  # a square with a square hole, ...
    label[8:12, 8:12] = 0
    label[8, 8] = 255
    label[20:28, 30] = 1  # ... and an L of two bars, whose hull is a triangle
    label[27, 30:38] = 1
    hull = truth_seed.convex_hull(label == 1)
    assert hull[5:15, 5:15].all() and hull.sum() == 100 + 8 * 9 // 2
    found = np.ones_like(label)
    (everything, truth, nothing) = truth_seed.count([found, label, 0 * label], label, 1)
    size, empty = 84 + 15, 15 + 36 - 15
    assert everything == truth_seed.Counts(size, size, empty, empty, 1200 - 1 - size - empty)
    assert truth == truth_seed.Counts(size, size, empty, 0, 0)
    assert nothing == truth_seed.Counts(size, 0, empty, 0, 0)
    tally = truth_seed.Tally([1, 2])
    tally.add(label, {"truth": [label, found], "blank": [0 * label]})
    tally.add(label, {"truth": [label, label], "blank": [found]})
    rows = {(row.start, row.iterations): row for row in tally.rows(["a", "b", "c"])}
    assert list(rows) == [("truth", 0), ("truth", 1), ("blank", 1)]
    assert {row.class_name for row in rows.values()} == {"b"} and rows["blank", 1].images == 2
    assert rows["truth", 0].iou == 100 and rows["truth", 0].filled == 0
    assert rows["truth", 1].filled == 50 and rows["truth", 1].lost == 0
    assert rows["truth", 1].spread == pytest.approx(100 * (1199 - size - empty) / (2 * size))
    assert rows["blank", 1].lost == 50 and rows["blank", 1].iou == pytest.approx(
        100 * size / (size + 1199)
    )
    assert rows["blank", 1].solidity == pytest.approx(100 * size / (size + empty))


def test_truth_seed_command(folder, source, tmp_path):
    out = tmp_path / "truth"
    run(truth_seed.main, folder / "model.keras", "--data", "tiny", "--iterations", 3, "--out", out,
        "--strip", tmp_path / "strip.png")  # fmt: skip
    rows = read_csv(f"{out}.csv")
    assert len(rows) == 3 * (3 + 4)
    seeds = [row for row in rows if row["start"] == "truth" and row["iterations"] == "0"]
    assert all(float(row["iou"]) > 60 for row in seeds)
    assert size_of(f"{out}.png")[0] == 1500 and size_of(tmp_path / "strip.png")[0] > 800
    result = CliRunner().invoke(truth_seed.main, [
        str(folder / "model.keras"), "--data", "tiny", "--output-stride", "16", "--out", str(out)
    ])  # fmt: skip
    assert result.exit_code == 2 and "output stride 16" in result.stderr


# --- spectra ---


def test_power_is_what_parseval_says():
    rng = np.random.default_rng(0)
    mask = rng.random((37, 52)) < 0.3
    window = np.hanning(37)[:, None] * np.hanning(52)
    mean = (mask * window).sum() / window.sum()
    values = (mask - mean) * window
    frequencies, power = spectra.power_spectrum(mask)
    assert power.sum() == pytest.approx(1)
    assert power[0, 0] < 1e-20  # the mean is off
    # By Parseval's theorem the unnormalised sum is the energy; one coefficient as its definition.
    rows, columns = np.arange(37)[:, None], np.arange(52)
    wave = np.exp(-2j * np.pi * (3 * rows / 37 + 5 * columns / 52))
    energy = 37 * 52 * (values**2).sum()
    assert power[3, 5] == pytest.approx(np.abs((values * wave).sum()) ** 2 / energy)
    assert frequencies[3, 5] == pytest.approx(np.hypot(3 / 37, 5 / 52))
    assert frequencies[-3, 5] == frequencies[3, 5]


def test_stripes_have_their_power_in_their_ring():
    columns = np.arange(128)
    for period in (8, 32):
        stripes = np.tile(columns % period < period / 2, (96, 1))
        frequencies, power = spectra.power_spectrum(stripes)
        means = spectra.ring_means(frequencies, power)
        ring = np.nanargmax(means)
        assert (
            spectra.EDGES[ring] <= 1 / period * 1.1 and 1 / period * 0.9 <= spectra.EDGES[ring + 1]
        )
        inside = (frequencies >= spectra.EDGES[ring]) & (frequencies < spectra.EDGES[ring + 1])
        assert means[ring] == pytest.approx(power[inside].mean())


def test_open_pixels_get_the_nearest_class():
    label = np.full((6, 9), 255, np.uint8)
    label[:, :2], label[:, 7:] = 4, 2
    label[2, 4] = 0
    found = spectra.nearest_labels(label)
    places = np.argwhere(label != 255)
    for row, column in np.argwhere(label == 255):
        squares = ((places - (row, column)) ** 2).sum(1)
        nearest = {label[tuple(place)] for place in places[squares == squares.min()]}
        assert found[row, column] in nearest
    np.testing.assert_array_equal(found[label != 255], label[label != 255])


def test_sums_are_means_over_images_that_have_the_class():
    rng = np.random.default_rng(3)
    first = (rng.random((40, 40)) < 0.5).astype(int)
    second = np.zeros((40, 40), int)
    second[5:30, 8:31] = 1
    sums = spectra.Sums(2, cutoff=0.1)
    sums.add({"truth": first, "1": second})
    sums.add({"truth": second, "1": second})
    sums.add({"truth": second, "1": 0 * second})  # not predicted: it has no part in it
    by_name = {each.name: each for each in sums.classes(["back", "front"])}
    front = by_name["front"]
    assert front.images == 2
    shares = []
    for mask in (first, second):
        frequencies, power = spectra.power_spectrum(mask == 1)
        shares.append(power[frequencies > 0.1].sum())
    assert front.detail["truth"] == pytest.approx(np.mean(shares))
    assert front.detail["1"] == pytest.approx(shares[1]) and shares[1] < shares[0]
    assert spectra.distance(10 * front.spectra["1"], front.spectra["1"]) == pytest.approx(10)


def test_spectra_command(folder, source, tmp_path):
    out = tmp_path / "spectra"
    model = load_model(folder / "model.keras")
    maps = np.concatenate([list(Predictor(model).every_iteration(image, 2))
                           for image, *_ in seeding.examples(model, source, "val")])  # fmt: skip
    if not any((maps == index).sum((1, 2)).min() >= 256 for index in range(3)):
        pytest.fail("the model of these tests predicts too little")
    printed = run(spectra.main, folder / "model.keras", "--data", "tiny", "--iterations", "1,2",
                  "--out", out)  # fmt: skip
    rows = read_csv(f"{out}.csv")
    assert {row["mask"] for row in rows} == {"truth", "1", "2"}
    assert "classes closer to the mean than to their own" in printed
    assert size_of(f"{out}.png")[0] == 1650


# --- strips ---


def test_iteration_strips_command(folder, source, tmp_path):
    street = np.random.default_rng(0).integers(0, 256, (50, 90, 3), np.uint8)
    Image.fromarray(street).save(tmp_path / "street.png")
    out = tmp_path / "strips.png"
    run(iteration_strips.main, folder / "model.keras", tmp_path / "street.png", "--data", "tiny",
        "--image", 2, "--iterations", "1,3", "--out", out)  # fmt: skip
    rows = read_csv(out.with_suffix(".csv"))
    names = [row["image"] for row in rows]
    assert names == ["street", "street", "val_2", "val_2"] and size_of(out)[0] > 1000
    model = load_model(folder / "model.keras")
    costs = stage_costs(model, 50, 90)
    assert float(rows[1]["gmacs"]) == pytest.approx(costs.total(3) / 1e9)
    assert rows[0]["right"] == rows[0]["changed"] == ""
    one = Evaluator(model, (3,))(make_source({"val": halves(3, 41, 57)[2:]}), "val", progress=False)
    assert float(rows[3]["right"]) == pytest.approx(100 * one.pixel_accuracy[0])
    first, _, third = Predictor(model).every_iteration(street, 3)
    assert float(rows[1]["changed"]) == pytest.approx(100 * np.mean(first != third))


def test_titles_name_image_and_cost_apart():
    image = iteration_strips.Example("street", np.zeros((4, 6, 3), np.uint8))
    rows = [iteration_strips.Row("street", n, 5 + n / 100, None, None) for n in (1, 2)]
    maps = {n: np.zeros((4, 6), np.uint8) for n in (1, 2)}
    above, below = iteration_strips.panels([(image, maps, rows), (image, maps, rows)])
    expected = ["image", "n = 1\n5.01 G multiply-adds", "n = 2\n5.02 G"]
    assert [panel.title for panel in above] == expected
    assert [panel.title for panel in below] == ["", "", ""]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no image to draw"),
        (["--data", "tiny"], "give --data and --image together"),
        (["--data", "tiny", "--image", "3"], "--image 3: expected 0 to 2"),
    ],
)
def test_iteration_strips_say_what_is_missing(folder, source, tmp_path, arguments, message):
    arguments = [str(folder / "model.keras"), *arguments, "--out", str(tmp_path / "strips.png")]
    result = CliRunner().invoke(iteration_strips.main, arguments)
    assert result.exit_code == 2 and message in result.stderr


def test_video_strips_command(folder, tmp_path):
    pytest.importorskip("cv2")
    pytest.importorskip("av")
    clip = tmp_path / "clip"
    clip.mkdir()
    rng = np.random.default_rng(0)
    for number in range(4):
        noise = rng.integers(0, 20, (48, 64, 3))
        Image.fromarray(np.uint8(100 + noise)).save(clip / f"{number}.png")
    out = tmp_path / "video.png"
    run(video_strips.main, folder / "model.keras", folder / "rival.keras", "--clip", clip,
        "--iterations", 1, "--frames", 3, "--out", out)  # fmt: skip
    rows = read_csv(out.with_suffix(".csv"))
    assert [(row["system"], row["iterations"]) for row in rows] == [
        *(("model, 1 seeded", number) for number in "2111"), *(("rival", "1"),) * 4
    ]  # fmt: skip
    for name, start in (("model", 0), ("rival", 4)):
        costs = stage_costs(load_model(folder / f"{name}.keras"), 48, 64)
        assert float(rows[start + 1]["gmacs"]) == pytest.approx(costs.total(1) / 1e9)
    assert rows[4]["kept"] == "" and 0 <= float(rows[5]["kept"]) <= 100
    result = CliRunner().invoke(video_strips.main, [
        str(folder / "rival.keras"), str(folder / "model.keras"), "--clip", str(clip),
        "--out", str(out)])  # fmt: skip
    assert result.exit_code == 2 and "expected a recurrent model" in result.stderr


def test_overview_cuts_out_what_the_map_says():
    image = np.full((2, 2, 3), (10, 110, 180), np.uint8)
    inside = np.array([[True, True], [False, False]])
    certainty = np.array([[1.0, 0.0], [1.0, 0.0]])
    found = overview.cut_out(image, inside, certainty).astype(int)
    np.testing.assert_array_equal(found[0, 0], image[0, 0])
    assert np.ptp(found[1], axis=-1).max() == 0  # grey
    assert (found[:, 1] > found[:, 0]).all()  # less is seen
    logits = np.array([[0.0, np.log(3)], [500, -500]])
    np.testing.assert_allclose(overview.softmax(logits), [[0.25, 0.75], [1, 0]])


def test_overview_command(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(overview, "photograph", lambda: halves(1, 60, 90)[0][0])
    table = tmp_path / "comparison.csv"
    table.write_text(
        "system,output_stride,iterations,miou,miou_occurring,gmacs,milliseconds\n"
        "RNN,16,1,50,51,1.5,9\nRNN,16,2,52,53,1.6,9\nRNN,8,1,60,61,5,9\nFixed,16,1,54,55,3,9\n"
    )
    arguments = [str(folder / "model.keras"), "--iterations", "1,2"]
    out = tmp_path / "overview.png"
    run(overview.main, *arguments, "--curve", "Tiny", table, "RNN", "--out", out)
    assert size_of(out)[0] == 1600
    run(overview.main, *arguments, "--out", out)
    assert size_of(out)[1] < 800
    assert overview.read_points(table, "RNN") == {
        "RNN": [(1, 1.5, 51), (2, 1.6, 53)], "Fixed": [(1, 3, 55)]
    }  # fmt: skip
    result = CliRunner().invoke(
        overview.main, [*arguments, "--curve", "Tiny", str(table), "GRU", "--out", str(out)]
    )
    assert result.exit_code == 2 and "has no system 'GRU'; it has RNN, Fixed" in result.stderr


def test_overview_says_which_system_and_which_mean():
    axes = visualize.new_figure((4, 3)).subplots()
    overview.draw_curve(axes, "VOC", {"RNN, context": [(1, 1.5, 51), (2, 1.6, 53)]})
    assert axes.get_ylabel() == "mIoU of the classes that occur (%)"
    (entry,) = axes.get_legend().get_texts()
    assert entry.get_text() == "one model after n iterations: RNN, context"


def test_overview_needs_its_photograph(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    arguments = [str(folder / "model.keras"), "--out", str(tmp_path / "overview.png")]
    result = CliRunner().invoke(overview.main, arguments)
    assert result.exit_code == 2 and "pip install scikit-image" in result.stderr


# --- the claim that quality rises ---


def test_differences_are_those_of_the_whole_and_scatter_as_images_do():
    rng = np.random.default_rng(0)
    # The second number of iterations gets one pixel more in a hundred, in every image alike.
    confusions = np.zeros((60, 3, 2, 2), np.int64)
    confusions[:, 0] = [[90, 10], [10, 90]]
    confusions[:, 1] = [[91, 9], [9, 91]]
    third = rng.integers(80, 100, 60)
    confusions[:, 2, 0, 0], confusions[:, 2, 0, 1] = third, 100 - third
    confusions[:, 2, 1] = [10, 90]
    steady, noisy = rise.differences(confusions, [(1, 2), (1, 3)])
    expected = 100 * np.diff(metrics.mean_iou(confusions.sum(0)))
    assert steady.points == pytest.approx(expected[0])
    assert steady.low == pytest.approx(steady.high) and steady.low == pytest.approx(expected[0])
    assert noisy.low < noisy.points < noisy.high
    # IoU of a class is about 0.8; a mean of 60 images scatters by 1 / sqrt(60) of one of them.
    means = [metrics.mean_iou(confusions[rng.integers(0, 60, 60), 2].sum(0)) for _ in range(2000)]
    assert noisy.high - noisy.low == pytest.approx(100 * np.ptp(np.percentile(means, (2.5, 97.5))),
                                                   rel=0.15)  # fmt: skip
    (whole,) = rise.differences(confusions, [(1, 3)], block=60)
    assert whole.low == whole.high == pytest.approx(noisy.points)
    assert rise.table([steady], 1).splitlines()[-1].endswith("| rises |")


def test_rise_command(folder, source):
    printed = run(rise.main, folder / "model.keras", "--data", "tiny")
    model = load_model(folder / "model.keras")
    result = Evaluator(model, range(1, 5))(source, "val", progress=False)
    miou = 100 * metrics.mean_iou_occurring(result.confusion)
    cells = {
        line.split(" | ")[0]: line.split(" | ")[1] for line in printed.splitlines() if "to" in line
    }
    assert cells["| 1 to 2"] == f"{miou[1] - miou[0]:+.2f}"
    assert cells["| 2 to 4"] == f"{miou[3] - miou[1]:+.2f}"
