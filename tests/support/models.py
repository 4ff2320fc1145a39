"""Small models, for tests."""

import keras
import numpy as np

import rnnseg


def make_model(kind=None, **options) -> rnnseg.RecurrentSegmenter:
    """Makes a model with random weights, the same at every call; `kind` is its class."""
    keras.utils.set_random_seed(5)
    options = {
        "num_classes": 4,
        "encoder": "small_cnn",
        "encoder_weights": None,
        "output_stride": 8,
        "hidden_channels": (6, 5),
        "iterations": 6,
        # A network with random weights needs all of it trained.
        "freeze_batch_norm": False,
        "l2": 0.0,
    } | options
    return (kind or rnnseg.RecurrentSegmenter)(**options)


def make_lively_model(**options) -> rnnseg.RecurrentSegmenter:
    """One with a learned start that tells all its classes: its gates are far from the start's."""
    model = make_model(learned_start=True, **options)
    rng = np.random.default_rng(1)
    for weight in model.stack.weights:
        spread = 100 if "feature_gates/kernel" in weight.path else 2
        spread = 0.2 if "initial" in weight.path or "bias" in weight.path else spread
        weight.assign(rng.normal(0, spread, weight.shape))
    return model


def settle_batch_norm(network, images):
    """Gives batch norm the statistics of some images, so that no layer fades out."""
    layers = [each for each in network.layers if isinstance(each, keras.layers.BatchNormalization)]
    momentum = layers[0].momentum
    for layer in layers:
        layer.momentum = 0.0
    network(images, training=True)
    for layer in layers:
        layer.momentum = momentum


def blocky_image(side, seed=0):
    """Makes an image, uint8 `(1, side, side, 3)`, of blocks and noise."""
    rng = np.random.default_rng(seed)
    blocks = (
        rng.integers(0, 256, (1, side // 16 + 1, side // 16 + 1, 3)).repeat(16, 1).repeat(16, 2)
    )
    return (blocks[:, :side, :side] // 2 + rng.integers(0, 128, (1, side, side, 3))).astype(
        np.uint8
    )
