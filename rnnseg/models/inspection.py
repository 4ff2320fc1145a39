"""What Keras' `summary`, and what asks a model for its inputs and outputs, see of our models.

Keras asks by attributes. Those here are none that `dir` lists, since Keras reads all of these when
it saves a model, and would store what it finds there.
"""

import importlib
import warnings
from collections.abc import Sequence
from typing import Any

import keras


class InspectedLayer(keras.layers.Layer):
    """A layer that tells what is inside it and which shapes it gives."""

    def __getattr__(self, name: str) -> Any:
        """Returns `layers`, those directly inside, as a model has them."""
        if name == "layers":
            return list(self._flatten_layers(include_self=False, recursive=False))
        raise _unknown(self, name)

    def compute_output_shape(self, *shapes: Any, **named: Any) -> Any:
        """Returns the shapes of the outputs for those of the inputs, in the order of `call`."""
        inputs = [
            keras.tree.map_shape_structure(keras.KerasTensor, each)
            for each in (*shapes, *named.values())
        ]
        outputs = self.compute_output_spec(*inputs)
        return keras.tree.map_structure(lambda each: each.shape, outputs)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Traces the call; Keras would ask `compute_output_shape`."""
        return keras.Operation.compute_output_spec(self, *args, **kwargs)


class InspectedModel(keras.Model):
    """A model from images to logits with the attributes of a functional one.

    `inputs` and `outputs` are those of a symbolic call on images of any size.
    """

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """The shape of the images, `(None, None, None, 3)`."""
        return (None, None, None, 3)

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """The shape of the logits, `(None, None, None, classes)`."""
        return self.compute_output_shape(self.input_shape)

    def compute_output_shape(self, images_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Returns the shape of the logits for that of the images."""
        return (*images_shape[:3], self.num_classes)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Traces the call, which checks the images; the logits are float32 in every precision."""
        return keras.Operation.compute_output_spec(self, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        """Returns `inputs` and `outputs`, and `predictor`, which is deprecated."""
        if name in ("inputs", "outputs"):
            images = keras.Input(self.input_shape[1:], name="images")
            self.__dict__.update(inputs=[images], outputs=[self(images)])
        elif name == "predictor":
            warnings.warn("make rnnseg.Predictor(model)", DeprecationWarning, stacklevel=2)
            # By name: models import nothing that predicts with them.
            predictor = importlib.import_module("rnnseg.inference.predictor").Predictor(self)
            self.__dict__[name] = predictor  # with its latencies, for the next time
        else:
            raise _unknown(self, name)
        return vars(self)[name]


def _unknown(owner, name: str) -> AttributeError:
    return AttributeError(f"{type(owner).__name__!r} object has no attribute {name!r}")
