import numpy as np
import pytest

from experiments import spectra
from experiments.runs import read_examples
from rnnseg.inference.predictor import Predictor
from rnnseg.models.loading import load_model
from tests.support.commands import image_size, read_csv, run


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


def test_spectra_command(models, source, tmp_path):
    out = tmp_path / "spectra"
    model = load_model(models / "model.keras")
    maps = np.concatenate([list(Predictor(model).every_iteration(example.image, 2))
                           for example in read_examples(source, "val")])  # fmt: skip
    if not any((maps == index).sum((1, 2)).min() >= 256 for index in range(3)):
        pytest.fail("the model of these tests predicts too little")
    printed = run(spectra.main, models / "model.keras", "--data", "tiny", "--iterations", "1,2",
                  "--out", out)  # fmt: skip
    rows = read_csv(f"{out}.csv")
    assert {row["mask"] for row in rows} == {"truth", "1", "2"}
    assert "classes closer to the mean than to their own" in printed
    assert image_size(f"{out}.png")[0] == 1650
