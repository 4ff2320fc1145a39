"""What holds for every kind of model: training, commands, and other output strides."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from rnnseg import UserError, data
from rnnseg.cli import main
from rnnseg.models.loading import load_model
from rnnseg.models.registry import MODELS
from rnnseg.training import loop
from rnnseg.training.config import TrainingConfig
from tests.support.models import make_model
from tests.support.sources import halves, tiny_source

BASELINES = [name for name, kind in MODELS.items() if not kind.recurrent]
IMAGES = np.random.default_rng(0).integers(0, 256, (1, 65, 97, 3), np.uint8)


def make(kind, **options):
    options = dict(encoder="mobilenet_v2_0.35", encoder_weights=None) | options
    return MODELS[kind](4, **options)


# With features of one depth, and of two.
@pytest.mark.parametrize("kind", ["pspnet", "deeplabv3_plus"])
def test_a_baseline_goes_through_the_commands(kind, tmp_path, monkeypatch):
    source = tiny_source()
    for module in (data, loop):
        monkeypatch.setattr(module, "open_source", lambda name: source)
    config = TrainingConfig(
        data="shapes",
        model=kind,
        encoder="small_cnn",
        encoder_weights=None,
        output_stride=8,
        freeze_batch_norm=False,
        crop=(32, 40),
        batch_size=2,
        epochs=1,
        seed=3,
    )
    run = tmp_path / "run"
    loop.train(config, run)
    assert type(load_model(run)) is MODELS[kind]
    arguments = ["evaluate", run, "--data", "tiny", "--json", tmp_path / "scores.json"]
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    assert result.exit_code == 0, result.output
    rows = json.loads((tmp_path / "scores.json").read_text())["results"]
    assert [row["iterations"] for row in rows] == [1]
    result = CliRunner().invoke(
        main, ["evaluate", str(run), "--data", "tiny", "--iterations", "1-3"]
    )
    assert result.exit_code == 2 and f"{kind} is feed-forward" in result.output
    Image.fromarray(halves(1)[0][0]).save(tmp_path / "photo.png")
    arguments = ["segment", run, tmp_path / "photo.png", "--every-iteration", "--out", tmp_path]
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    assert result.exit_code == 0, result.output
    with pytest.raises(UserError, match=f"model is '{kind}' there"):
        loop.train(dataclasses.replace(config, model="recurrent"), run, resume=True)


@pytest.mark.parametrize("options", [{}, {"kernel_size": 3, "dilation_rate": 1}])
def test_another_stride_keeps_what_the_recurrence_sees(options):
    """Atrous features hold the coarser ones at every second place, and so does the canvas."""
    model = make("recurrent", output_stride=16, hidden_channels=(6, 5), **options)
    fine = model.at_output_stride(8)
    coarse = model.unroll(IMAGES, 3).numpy()
    np.testing.assert_allclose(
        fine.unroll(IMAGES, 3).numpy()[:, :, ::2, ::2], coarse, rtol=1e-3, atol=1e-5
    )
    assert fine.unroll(IMAGES, 1).shape[2:4] == fine.canvas_size(*IMAGES.shape[1:3]) == (17, 25)
    np.testing.assert_array_equal(fine.at_output_stride(16).unroll(IMAGES, 3), coarse)


@pytest.mark.parametrize("kind", BASELINES)
def test_another_stride_keeps_weights_and_classes(kind):
    model = make(kind, class_names="abcd")
    fine = model.at_output_stride(8)
    assert fine.output_stride == 8 and fine.class_names == ("a", "b", "c", "d")
    for ours, its in zip(model.weights, fine.weights, strict=True):
        assert np.array_equal(ours, its)
    assert fine(IMAGES).shape == model(IMAGES).shape


def test_strides_that_cannot_be_had():
    with pytest.raises(UserError, match="cannot be moved so close together"):
        make("recurrent", output_stride=16, kernel_size=3).at_output_stride(32)
    with pytest.raises(UserError, match="small_cnn is another network"):
        make_model(output_stride=8).at_output_stride(16)
    images = keras.Input((None, None, 3))
    own = keras.Model(images, keras.layers.Conv2D(5, 16, strides=16, padding="same")(images))
    model = MODELS["recurrent"](4, encoder=own, encoder_weights=None)
    with pytest.raises(UserError, match="the encoder is a custom model"):
        model.at_output_stride(8)
    with pytest.raises(UserError, match="output_stride=4: expected one of"):
        make("recurrent").at_output_stride(4)


def test_every_kind_can_be_named():
    for kind in MODELS:
        TrainingConfig(data="shapes", model=kind)
    with pytest.raises(UserError, match="model='unet': expected one of"):
        TrainingConfig(data="shapes", model="unet")
