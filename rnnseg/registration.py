"""Registers every class of the package with Keras, for `keras.saving.load_model`.

    import keras
    import rnnseg.registration
    model = keras.saving.load_model("runs/camvid/best.keras")

`rnnseg.load_model` does so by itself.
"""

from rnnseg.models import registry  # noqa: F401 - imported for what it registers
from rnnseg.training import losses, sampling  # noqa: F401
