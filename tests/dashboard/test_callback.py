import keras
import pytest

import rnnseg
from rnnseg.data.pipeline import Augmentation, training_batches
from rnnseg.errors import UserError
from rnnseg.evaluation.evaluator import Evaluator
from rnnseg.models.baselines.deeplabv3 import DeepLabV3
from tests.dashboard.logdirs import comparisons, scalars
from tests.support.models import make_model
from tests.support.sources import make_source, tiny_source


def fit(callbacks, epochs=3):
    source = tiny_source()
    model = make_model(num_classes=3, iterations=2, class_names=source.class_names)
    model.compile(optimizer=keras.optimizers.Adam(0.02), loss=rnnseg.SegmentationLoss())
    batches, steps = training_batches(source, "train", 4, Augmentation((32, 40)), epochs, seed=1)
    history = model.fit(
        batches, epochs=epochs, steps_per_epoch=steps, callbacks=callbacks, verbose=0, shuffle=False
    )
    return model, history


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    logdir = tmp_path_factory.mktemp("logs")
    callback = rnnseg.dashboard.SpeedAccuracy(tiny_source(), log_dir=logdir, every=2)
    model, history = fit([callback])
    return logdir, model, history


def test_the_last_evaluation_is_of_the_trained_model(trained):
    logdir, model, _ = trained
    (comparison,) = comparisons(logdir)
    (run,) = comparison["runs"]
    assert run["name"] == "speed_accuracy" and run["step"] == 2
    expected = Evaluator(model, range(1, 5))(tiny_source(), "val", progress=False)
    assert [point["miou"] for point in run["points"]] == list(expected.miou)
    assert len(run["images"]) == 3


def test_every_so_many_epochs_and_the_last(trained):
    logdir, _, history = trained
    found = scalars(logdir, "speed_accuracy")["operating_point/mIoU_percent"]
    assert [step for step, _ in found] == [1, 2]
    assert [value for _, value in found] == pytest.approx(history.history["val_miou"])


def test_given_iterations_and_a_feed_forward_model(tmp_path):
    source = tiny_source()
    models = {
        "rnn": make_model(num_classes=3),
        "ff": DeepLabV3(3, encoder="small_cnn", encoder_weights=None, output_stride=8),
    }
    for (name, model), iterations in zip(models.items(), ((1, 5), None), strict=True):
        callback = rnnseg.dashboard.SpeedAccuracy(source, iterations, tmp_path / name)
        callback.set_model(model)
        callback.set_params({"epochs": 1})
        callback.on_train_begin()
        logs = {}
        callback.on_epoch_end(0, logs)
        assert 1 < logs["val_miou"] <= 100
    (comparison,) = comparisons(tmp_path)
    numbers = {
        run["name"].split("/")[0]: [point["iterations"] for point in run["points"]]
        for run in comparison["runs"]
    }
    assert numbers == {"rnn": [1, 5], "ff": [1]}


def test_mistakes_show_before_the_first_epoch(tmp_path):
    class Epochs(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            raise AssertionError("training began")

    other = make_source({"val": []}, class_names=("a", "b"))
    for data, message in ((other, "2"), ((tiny_source(), "test"), "no split 'test'")):
        callback = rnnseg.dashboard.SpeedAccuracy(data, log_dir=tmp_path)
        with pytest.raises(UserError, match=message):
            fit([callback, Epochs()])
    with pytest.raises(UserError, match="every=0"):
        rnnseg.dashboard.SpeedAccuracy("shapes", every=0)
