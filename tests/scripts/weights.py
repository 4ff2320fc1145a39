"""Weights of classes, of images and of pixels."""

import keras
import numpy as np

import rnnseg

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
images = rng.integers(0, 256, (8, 32, 32, 3)).astype("float32")
labels = (images.mean(-1) > 128).astype("int32")

model = rnnseg.RecurrentSegmenter(2, encoder="small_cnn", encoder_weights=None, iterations=3)
model.compile(
    optimizer="adam",
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=[keras.metrics.SparseCategoricalAccuracy(name="plain")],
    weighted_metrics=[keras.metrics.SparseCategoricalAccuracy(name="weighted")],
)
history = model.fit(
    images, labels, batch_size=4, epochs=2, class_weight={0: 1.0, 1: 3.0}, verbose=0
)
assert np.all(np.isfinite(history.history["loss"]))

per_image = np.array([1, 0, 1, 0, 1, 0, 1, 0], "float32")
model.fit(images, labels, batch_size=4, sample_weight=per_image, verbose=0)
weighted = model.evaluate(
    images, labels, sample_weight=per_image, batch_size=4, return_dict=True, verbose=0
)
of_half = model.evaluate(images[::2], labels[::2], return_dict=True, verbose=0)
np.testing.assert_allclose(weighted["weighted"], of_half["plain"], rtol=1e-5)

per_pixel = (labels == 1).astype("float32")
model.fit(images, labels, batch_size=4, sample_weight=per_pixel, verbose=0)
recall = model.evaluate(images, labels, sample_weight=per_pixel, return_dict=True, verbose=0)[
    "weighted"
]
found = model.predict(images, verbose=0).argmax(-1)
np.testing.assert_allclose(recall, np.mean(found[labels == 1] == 1), rtol=1e-5)
