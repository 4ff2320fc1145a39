"""Small models, for tests."""

import keras

import rnnseg


def make_model(**options) -> rnnseg.RecurrentSegmenter:
    """A segmenter with random weights, the same at every call."""
    keras.utils.set_random_seed(5)
    options = {
        "num_classes": 4,
        "encoder": "small_cnn",
        "encoder_weights": None,
        "output_stride": 8,
        "hidden_channels": (6, 5),
    } | options
    return rnnseg.RecurrentSegmenter(**options)
