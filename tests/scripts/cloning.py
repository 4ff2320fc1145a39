"""A clone has the same structure and new weights; those of the original can be copied."""

import keras
import numpy as np

import rnnseg

keras.utils.set_random_seed(0)
images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")

model = rnnseg.RecurrentSegmenter(
    2, encoder="small_cnn", encoder_weights=None, iterations=3, class_names=["road", "rest"]
)
clone = keras.models.clone_model(model)
assert type(clone) is rnnseg.RecurrentSegmenter and clone.get_config() == model.get_config()
assert not {id(each) for each in clone.weights} & {id(each) for each in model.weights}
assert np.any(clone.predict(images, verbose=0) != model.predict(images, verbose=0))

clone.set_weights(model.get_weights())
np.testing.assert_array_equal(clone.predict(images, verbose=0), model.predict(images, verbose=0))

# What is done to the clone is not done to the model.
clone.compile(optimizer="sgd", loss=rnnseg.SegmentationLoss())
clone.fit(images, np.zeros((2, 32, 32)), verbose=0)
assert np.any(clone.predict(images, verbose=0) != model.predict(images, verbose=0))
