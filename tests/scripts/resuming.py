"""Training with a pause, in which the model is saved and loaded, is training without it."""

import pathlib
import tempfile

import keras
import numpy as np

import rnnseg

rng = np.random.default_rng(0)
images = rng.integers(0, 256, (8, 32, 32, 3)).astype("float32")
labels = (images.mean(-1) > 128).astype("int32")


def fit(model, first, last):
    return model.fit(
        images, labels, batch_size=4, initial_epoch=first, epochs=last, shuffle=False, verbose=0
    ).history["loss"]


def make_model():
    keras.utils.set_random_seed(0)
    model = rnnseg.RecurrentSegmenter(2, encoder="small_cnn", encoder_weights=None, iterations=3)
    schedule = keras.optimizers.schedules.CosineDecay(0.01, 8)
    model.compile(
        optimizer=keras.optimizers.AdamW(schedule), loss=rnnseg.SegmentationLoss(), metrics=["acc"]
    )
    return model


model = make_model()
expected = fit(model, 0, 4)

paused = make_model()
losses = fit(paused, 0, 2)
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, "model.keras")
    paused.save(path)
    loaded = keras.models.load_model(path)
np.testing.assert_allclose(losses + fit(loaded, 2, 4), expected, rtol=1e-4)
for found, wanted in zip(loaded.get_weights(), model.get_weights(), strict=True):
    np.testing.assert_allclose(found, wanted, atol=1e-4)
