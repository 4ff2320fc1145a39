"""Images from a PyDataset of one's own, and from a generator, each batch of another size."""

import keras
import numpy as np
import tensorflow as tf

import rnnseg


def batch(seed, height, width):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (2, height, width, 3)).astype("uint8")
    return images, (images.mean(-1) > 128).astype("uint8")


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return batch(index, 32, 24 + 8 * index)


def batches():
    for index in range(3):
        yield batch(index, 32, 24 + 8 * index)


def trained_on(data):
    keras.utils.set_random_seed(0)
    model = rnnseg.RecurrentSegmenter(2, encoder="small_cnn", encoder_weights=None, iterations=3)
    model.compile(optimizer="sgd", loss=rnnseg.SegmentationLoss(), metrics=["accuracy"])
    history = model.fit(data, epochs=1, shuffle=False, verbose=0)
    return model, history.history["loss"][-1]


model, loss = trained_on(Batches())
signature = (
    tf.TensorSpec((None, None, None, 3), tf.uint8),
    tf.TensorSpec((None, None, None), tf.uint8),
)
dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
# Without its length Keras warns that a generator "ran out of data", whatever the model.
dataset = dataset.apply(tf.data.experimental.assert_cardinality(3)).prefetch(1)
other, same_loss = trained_on(dataset)
np.testing.assert_allclose(loss, same_loss, rtol=1e-4)

np.testing.assert_allclose(
    model.evaluate(Batches(), verbose=0), other.evaluate(dataset, verbose=0), rtol=1e-3
)
logits = model.predict(dataset.take(1), verbose=0)
assert logits.shape == (2, 32, 24, 2)
