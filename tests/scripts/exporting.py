"""A SavedModel at any moment: fresh, after `predict` and after `fit`; for images of every size."""

import pathlib
import tempfile

import keras
import numpy as np
import tensorflow as tf

import rnnseg

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
images = rng.integers(0, 256, (2, 32, 40, 3)).astype("float32")

model = rnnseg.RecurrentSegmenter(2, encoder="small_cnn", encoder_weights=None, iterations=3)
model.compile(optimizer="sgd", loss=rnnseg.SegmentationLoss())
with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    for moment in ("fresh", "predicted", "fitted"):
        if moment == "predicted":
            model.predict(images, verbose=0)
        elif moment == "fitted":
            model.fit(images, np.zeros((2, 32, 40)), verbose=0)
        model.export(folder / moment, verbose=False)
        served = tf.saved_model.load(folder / moment)
        for size in ((32, 40), (17, 23)):
            image = images[:1, : size[0], : size[1]]
            np.testing.assert_allclose(served.serve(image), model(image), atol=1e-5)
    layer = keras.layers.TFSMLayer(folder / "fitted", call_endpoint="serve")
    np.testing.assert_allclose(layer(images), model(images), atol=1e-5)
