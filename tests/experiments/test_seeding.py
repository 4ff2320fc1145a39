import numpy as np
import pytest

from experiments import seeding
from experiments.runs import read_examples
from rnnseg.inference.predictor import Predictor
from rnnseg.models.loading import load_model


def test_runs_are_the_models_own(models, source):
    model = load_model(models / "model.keras")
    runs = seeding.Runs(model, 3)
    example, *_ = read_examples(source, "val")
    image, label = example.image, example.label
    blank = runs.initial(image)
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
