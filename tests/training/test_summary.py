import pytest

from rnnseg.training import runs, summary
from rnnseg.training.config import TrainingConfig
from tests.support.models import make_model
from tests.support.sources import tiny_source


@pytest.mark.parametrize("patches, is_told", [(7, False), (8, True)])
def test_more_patches_than_the_canvas_has_room_for_are_told(tmp_path, patches, is_told):
    """The crop has 5x6 = 30 canvas pixels at stride 8, every patch four of them."""
    config = TrainingConfig(
        data="shapes",
        encoder="small_cnn",
        encoder_weights="some.weights.h5",
        train_encoder=False,
        output_stride=8,
        crop=(32, 40),
        sampled_patches=patches,
    )
    model = make_model(num_classes=3)
    assert (model.output_stride, model.canvas_stride) == (8, 8)
    text = summary.describe(config, tiny_source(), model, 0, 4, runs.Run(tmp_path), 0)
    assert (f"{4 * patches} canvas pixels at their corners, a whole crop has 30" in text) == is_told
