"""Mean IoU of the validation data after every epoch, by Keras' metric."""

import keras
import numpy as np

import rnnseg

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
images = rng.integers(0, 256, (8, 32, 40, 3)).astype("uint8")
labels = (images.mean(-1) > 128).astype("uint8") + (images[..., 0] > 200)
labels[:, :4] = 255  # unknown

model = rnnseg.RecurrentSegmenter(3, encoder="small_cnn", encoder_weights=None, iterations=3)
model.compile(
    optimizer="sgd",
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255),
    metrics=[
        keras.metrics.MeanIoU(3, ignore_class=255, sparse_y_pred=False, name="miou"),
        keras.metrics.SparseCategoricalAccuracy(),
    ],
)
history = model.fit(
    images[:4], labels[:4], epochs=2, validation_data=(images[4:], labels[4:]), verbose=0
).history

found = model.predict(images[4:], verbose=0).argmax(-1)
known = labels[4:] != 255
ious = [
    np.sum((found == each) & (labels[4:] == each))
    / np.sum(((found == each) | (labels[4:] == each)) & known)
    for each in range(3)
]
np.testing.assert_allclose(np.mean(ious), history["val_miou"][-1], rtol=1e-4)
scores = model.evaluate(images[4:], labels[4:], return_dict=True, verbose=0)
np.testing.assert_allclose(scores["miou"], history["val_miou"][-1], rtol=1e-4)
