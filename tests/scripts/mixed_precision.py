"""Mixed precision by Keras' global policy."""

import pathlib
import tempfile

import keras
import numpy as np

import rnnseg

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
images = rng.integers(0, 256, (8, 32, 32, 3)).astype("float32")
labels = (images.mean(-1) > 128).astype("int32")

keras.mixed_precision.set_dtype_policy("mixed_float16")
model = rnnseg.RecurrentSegmenter(2, encoder="small_cnn", encoder_weights=None, iterations=3)
model.compile(optimizer=keras.optimizers.Adam(0.01), loss=rnnseg.SegmentationLoss())
losses = model.fit(images, labels, batch_size=4, epochs=4, verbose=0).history["loss"]
assert losses[-1] < losses[0]
assert model.compute_dtype == "float16"
assert {weight.dtype for weight in model.trainable_weights} == {"float32"}
# float16 has too few digits for small gradients, which Keras therefore scales.
assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
logits = model.predict(images, verbose=0)
assert logits.dtype == np.float32 and np.all(np.isfinite(logits))

with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, "model.keras")
    model.save(path)
    keras.mixed_precision.set_dtype_policy("float32")
    loaded = keras.models.load_model(path)
assert loaded.dtype_policy.name == "mixed_float16"
np.testing.assert_array_equal(loaded.predict(images, verbose=0), logits)
