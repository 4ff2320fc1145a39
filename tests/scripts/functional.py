"""A segmenter as a layer of a functional model, which is trained, saved and loaded as a whole."""

import pathlib
import tempfile

import keras
import numpy as np

import rnnseg

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
images = rng.random((8, 32, 40, 3)).astype("float32")
labels = (images.mean(-1) > 0.5).astype("int32")

segmenter = rnnseg.RecurrentSegmenter(2, encoder="small_cnn", encoder_weights=None, iterations=3)
inputs = keras.Input((None, None, 3))
outputs = keras.layers.Softmax()(segmenter(keras.layers.Rescaling(255)(inputs)))
model = keras.Model(inputs, outputs)
assert model.output_shape == (None, None, None, 2)
assert model.count_params() == segmenter.count_params()

model.compile(optimizer=keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy")
before = segmenter.get_weights()
losses = model.fit(images, labels, batch_size=4, epochs=4, verbose=0).history["loss"]
assert losses[-1] < losses[0]
assert all(np.any(a != b) for a, b in zip(before[-2:], segmenter.get_weights()[-2:], strict=True))

with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, "model.keras")
    model.save(path)
    loaded = keras.models.load_model(path)
expected = model.predict(images, verbose=0)
np.testing.assert_array_equal(loaded.predict(images, verbose=0), expected)
logits = segmenter.predict(255 * images, verbose=0)
np.testing.assert_array_equal(logits.argmax(-1), expected.argmax(-1))
