import numpy as np
import pytest

from rnnseg.data.pipeline import evaluation_images
from rnnseg.models.baselines.pspnet import PSPNet
from rnnseg.training import loop
from rnnseg.training.validation import ValidationLoss
from tests.support.models import make_model
from tests.support.sources import halves, make_source
from tests.support.workers import in_threads
from tests.training.test_loop import CONFIG

WEIGHTS = (1.0, 2.0, 0.5)
UNLABELLED = (halves(1)[0][0], np.full((40, 48), 255, np.uint8))
SOURCE = make_source({"val": [*halves(2, 43, 51), UNLABELLED, *halves(1, 40, 48, seed=2)]})


def cross_entropy(logits, label):
    """The mean over the labelled pixels, in float64, with `WEIGHTS`."""
    logits, counted = logits.astype(np.float64), label != 255
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    losses = -np.take_along_axis(logs, np.where(counted, label, 0)[..., None], -1)[..., 0]
    return (losses * np.array(WEIGHTS)[np.where(counted, label, 0)])[counted].mean()


@pytest.mark.parametrize("kind", ["recurrent", "feed-forward"])
def test_the_loss_of_the_weighted_iterations_by_numpy(kind):
    """The mean over the images with a label, and the L2 penalty of the weights."""
    if kind == "recurrent":
        weights = {1: 1.0, 3: 2.0}
        model = make_model(num_classes=3, iterations=3, iteration_weights=(1.0, 0.0, 2.0), l2=1e-3)
        predict = lambda images: {n: model(images, iterations=n) for n in weights}  # noqa: E731
    else:
        weights = {1: 1.0}
        options = dict(encoder="small_cnn", encoder_weights=None, output_stride=8, l2=1e-3)
        model = PSPNet(3, head_channels=8, freeze_batch_norm=False, **options)
        predict = lambda images: {1: model(images)}  # noqa: E731
    loop.compile_model(model, CONFIG, 4, WEIGHTS)
    expected = []
    for image, label, _ in evaluation_images(SOURCE, "val").as_numpy_iterator():
        if (label != 255).any():
            logits = predict(image[np.newaxis])
            expected.append(
                sum(w * cross_entropy(logits[n].numpy()[0], label) for n, w in weights.items())
                / sum(weights.values())
            )
    penalty = float(sum(model.losses))
    assert len(expected) == 3 and penalty > 0.01
    found = ValidationLoss(model)(SOURCE, "val")
    assert found == pytest.approx(np.mean(expected) + penalty, rel=1e-4)
    loss = ValidationLoss(model)
    assert in_threads(3, lambda share: loss(SOURCE, "val", share)) == [found] * 3
