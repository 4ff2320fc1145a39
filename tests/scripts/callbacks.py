"""The usual callbacks: the best model is kept, the rest of the run can be taken up again."""

import pathlib
import tempfile

import keras
import numpy as np

import rnnseg

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
images = rng.integers(0, 256, (8, 32, 32, 3)).astype("float32")
labels = (images.mean(-1) > 128).astype("int32")


def make_model():
    model = rnnseg.RecurrentSegmenter(2, encoder="small_cnn", encoder_weights=None, iterations=3)
    model.compile(
        optimizer=keras.optimizers.Adam(0.01), loss=rnnseg.SegmentationLoss(), metrics=["accuracy"]
    )
    return model


with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    callbacks = [
        keras.callbacks.EarlyStopping(patience=1, min_delta=10.0, restore_best_weights=True),
        keras.callbacks.ModelCheckpoint(folder / "best.keras", save_best_only=True),
        keras.callbacks.ModelCheckpoint(folder / "last.weights.h5", save_weights_only=True),
        keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=0, min_delta=10.0),
        keras.callbacks.TensorBoard(folder / "logs", histogram_freq=1, write_images=True),
        keras.callbacks.CSVLogger(folder / "history.csv"),
        keras.callbacks.TerminateOnNaN(),
    ]
    model = make_model()
    history = model.fit(
        images,
        labels,
        batch_size=4,
        epochs=5,
        validation_data=(images, labels),
        callbacks=callbacks,
        verbose=0,
    )
    # No epoch is better by ten: the second is the last, and the first one's weights are back.
    assert history.epoch == [0, 1]
    assert history.history["learning_rate"][-1] < 0.01
    loss, _ = model.evaluate(images, labels, verbose=0)
    np.testing.assert_allclose(loss, history.history["val_loss"][0], rtol=1e-4)
    assert list(folder.glob("logs/train/*")) and list(folder.glob("logs/validation/*"))

    best = keras.models.load_model(folder / "best.keras")
    loss, _ = best.evaluate(images, labels, verbose=0)
    np.testing.assert_allclose(loss, min(history.history["val_loss"]), rtol=1e-4)

    model.load_weights(folder / "last.weights.h5")
    loss, _ = model.evaluate(images, labels, verbose=0)
    np.testing.assert_allclose(loss, history.history["val_loss"][-1], rtol=1e-4)

    # A run that is ended in its second epoch goes on with it.
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    backup = keras.callbacks.BackupAndRestore(folder / "backup")
    try:
        make_model().fit(images, labels, epochs=3, callbacks=[backup, Interrupt()], verbose=0)
    except KeyboardInterrupt:
        pass
    backup = keras.callbacks.BackupAndRestore(folder / "backup")
    again = make_model().fit(images, labels, epochs=3, callbacks=[backup], verbose=0)
    assert again.epoch == [1, 2]
