"""Two devices share every batch and learn what one does."""

import keras
import numpy as np
import tensorflow as tf

import rnnseg

# The processor, divided in two, stands for two GPUs.
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

rng = np.random.default_rng(0)
images = rng.integers(0, 256, (8, 32, 32, 3)).astype("float32")
labels = (images.mean(-1) > 128).astype("int32")


def make_model():
    keras.utils.set_random_seed(0)
    model = rnnseg.RecurrentSegmenter(2, encoder="small_cnn", encoder_weights=None, iterations=3)
    model.compile(
        optimizer=keras.optimizers.SGD(0.1),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def results(model):
    history = model.fit(
        images, labels, batch_size=4, epochs=2, shuffle=False, validation_data=(images, labels),
        verbose=0,
    )  # fmt: skip
    return history.history


strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    shared = make_model()
assert strategy.num_replicas_in_sync == 2
found, expected = results(shared), results(make_model())
assert found.keys() == expected.keys()
for name in expected:
    np.testing.assert_allclose(found[name], expected[name], rtol=1e-3)
