"""A training loop of one's own, with the loss of `fit` and with another one."""

import keras
import numpy as np
import tensorflow as tf

import rnnseg

rng = np.random.default_rng(0)
images = rng.integers(0, 256, (4, 32, 32, 3)).astype("float32")
labels = (images.mean(-1) > 128).astype("int32")


def make_model():
    keras.utils.set_random_seed(0)
    model = rnnseg.RecurrentSegmenter(2, encoder="small_cnn", encoder_weights=None, iterations=3)
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss=rnnseg.SegmentationLoss())
    return model


model = make_model()


@tf.function
def step(images, labels):
    with tf.GradientTape() as tape:
        logits = model.weighted_logits(images)
        loss = model.compute_loss(images, labels, logits)
    gradients = tape.gradient(loss, model.trainable_variables)
    model.optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
    return loss


losses = [float(step(images, labels)) for _ in range(3)]
fitted = make_model()
expected = fitted.fit(images, labels, batch_size=4, epochs=3, shuffle=False, verbose=0).history
np.testing.assert_allclose(losses, expected["loss"], rtol=1e-4)

# The last answer alone, a loss of one's own, the penalty on kernels added by hand.
cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
optimizer = keras.optimizers.Adam(0.01)
losses = []
for _ in range(4):
    with tf.GradientTape() as tape:
        logits = model(images, training=True)
        loss = cross_entropy(labels, logits) + sum(model.losses)
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(each is not None for each in gradients)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
    losses.append(float(loss))
assert losses[-1] < losses[0]
