"""Heads that see shallow features, in LiteRT files of builtin operators."""

import numpy as np
import pytest

from rnnseg.models.registry import MODELS
from rnnseg.runtime.interpreters import LiteRTStages
from rnnseg.runtime.model_info import ModelInfo
from tests.support.litert import write_anytime


@pytest.mark.parametrize(("kind", "size"), [("lr_aspp", None), ("deeplabv3_plus", (41, 57))])
def test_a_file_computes_what_the_model_does(kind, size, tmp_path):
    model = MODELS[kind](4, encoder="small_cnn", encoder_weights=None, head_channels=8)
    path = write_anytime(model, size, tmp_path)
    file = LiteRTStages(path, ModelInfo.load(path), 1)
    image = np.random.default_rng(0).integers(0, 256, (1, 41, 57, 3), np.uint8)
    canvas = model.unroll(image)[0].numpy()
    assert canvas.shape[1:3] == file.canvas_size(41, 57) == model.canvas_size(41, 57)
    found = file.prepare(file.encode(image))
    np.testing.assert_allclose(found, canvas, atol=1e-3 * np.abs(canvas).max())
