"""The stages of a model as functions with named tensors, for export."""

import functools
import re
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from rnnseg import grid
from rnnseg.models.base import SegmentationModel
from rnnseg.models.conv_lstm import LSTMState
from rnnseg.runtime.model_info import encode_signature

# An iteration changes a logit by at most one. The next few iterations can overrule a seed of half
# of that; with stronger seeds, CamVid's video kept showing objects that had moved on.
SEED_STRENGTH = 0.5


def stage_functions(
    model: SegmentationModel, size: tuple[int, int] | None, batch: int | None
) -> dict:
    """Traces the stages one by one: `encode`, `refine`, `read`, `seed`.

    `encode(image) -> prepared`; `refine(prepared, canvas, h_0, c_0, …) -> canvas, h_0, c_0, …`, one
    iteration; `read(canvas) -> classes`; `seed(classes) -> canvas`. For any size, `read` also takes
    the `size` of the image, int32 `(2,)`, which does not follow from the canvas. For a feed-forward
    model, `encode` returns the canvas, and there is neither `refine` nor `seed`.

    If the encoder has several stages, `encode` is the first one. It also returns the tensors that
    the next stage needs, by the names of their layers. `encode_1`, `encode_2`, … take what the
    stage before returned, and return the same for the next one.

    Args:
      model: a model that computes in float32.
      size: the `(height, width)` of the images, in pixels; None for any size.
      batch: the number of images at a time; None for any number.

    Returns:
      A traced `tf.function` for each name. It takes tensors by name and returns a dictionary of
      tensors: `image` is uint8, class maps and sizes are int32, all others are float32.
    """
    height, width = size or (None, None)
    sides = model.canvas_size(*size) if size else (None, None)

    def on_canvas(name, channels):
        return tf.TensorSpec((batch, *sides, channels), tf.float32, name)

    def read(canvas, size=size):
        return {"classes": model.read(canvas, size)}

    def refine(prepared, canvas, **state):
        layers = range(len(state) // len(LSTMState._fields))
        states = tuple(LSTMState(state[f"h_{layer}"], state[f"c_{layer}"]) for layer in layers)
        canvas, states = model.iterate(prepared, canvas, states)
        new = (tensor for each in states for tensor in each)
        return {"canvas": canvas} | dict(zip(model.state_channels, new, strict=True))

    def seed(classes):
        return {"canvas": seeded_canvas(classes, model)}

    canvas = on_canvas("canvas", model.num_classes)
    functions = _encode_functions(model, image_spec(size, batch)) | {
        "read": traced(read, canvas, *([] if size else [tf.TensorSpec((2,), tf.int32, "size")])),
    }
    if model.recurrent:
        prepared = on_canvas("prepared", model.prepared_channels)
        state = [on_canvas(name, channels) for name, channels in model.state_channels.items()]
        functions |= {
            "refine": traced(refine, prepared, canvas, *state),
            "seed": traced(seed, tf.TensorSpec((batch, height, width), tf.int32, "classes")),
        }
    return functions


def _encode_functions(model, image: tf.TensorSpec) -> dict:
    """Traces the stages of the encoder; see `stage_functions`."""
    stages = len(model.first_iterations)
    if stages == 1:
        ((name,),) = encoder_outputs(model)
        return {
            encode_signature(0): traced(
                lambda image: {name: model.prepare(model.encode(image))}, image
            )
        }
    handed_on = _handed_on(model)

    def encode_stage(number, image=None, prepared=None, **tensors):
        given = image
        if number:
            given = {layer: tensors[_tensor_name(layer)] for layer in handed_on[number - 1]}
        features = model.encode_stage(number, given)
        outputs = {"prepared": model.prepare(features, prepared)}
        return outputs | {_tensor_name(layer): features[layer] for layer in handed_on[number]}

    functions, inputs = {}, {"image": image}
    for number in range(stages):
        encode = traced(functools.partial(encode_stage, number), *inputs.values())
        functions[encode_signature(number)] = encode
        outputs = encode.get_concrete_function(**inputs).structured_outputs
        inputs = {
            name: tf.TensorSpec(each.shape, each.dtype, name) for name, each in outputs.items()
        }
    return functions


def encoder_outputs(model: SegmentationModel) -> tuple[tuple[str, ...], ...]:
    """Returns the names of the outputs of every stage of the encoder; see `stage_functions`."""
    if not model.recurrent:
        return (("canvas",),)
    return tuple(("prepared", *map(_tensor_name, layers)) for layers in _handed_on(model))


def _tensor_name(layer: str) -> str:
    """Returns the name of a layer, changed where the name of a tensor could not be the same."""
    name = re.sub(r"\W", "_", layer, flags=re.ASCII)
    return name if name[0].isalpha() else f"layer_{name}"


def _handed_on(model) -> list[tuple[str, ...]]:
    """Returns the layers whose outputs each stage of the encoder hands to the next one."""
    stages = len(model.first_iterations)
    if stages == 1:
        return [()]
    needed, inputs = [], image_spec(None, 1)
    for number in range(stages):
        inputs, layers = _trace_stage(model, number, inputs)
        needed.append(layers)
    return [*needed[1:], ()]


def _trace_stage(model, number: int, inputs) -> tuple[dict[str, tf.TensorSpec], tuple[str, ...]]:
    """Returns the types of the features of a stage, and the names of the inputs that it reads."""
    read = set()

    class Noting(dict):
        # The result of a stage also has features that are for `prepare` alone.
        def __getitem__(self, name):
            read.add(name)
            return super().__getitem__(name)

    def encode(inputs):
        return model.encode_stage(number, Noting(inputs) if number else inputs)

    graph = tf.function(encode, autograph=False).get_concrete_function(inputs)
    outputs = graph.structured_outputs.items()
    types = {name: tf.TensorSpec(each.shape, each.dtype) for name, each in outputs}
    return types, tuple(sorted(read))


def segment_function(
    model: SegmentationModel, size: tuple[int, int] | None, batch: int | None, outputs: Callable
) -> Any:
    """Traces the whole prediction: `segment(image, iterations)`; feed-forward `segment(image)`.

    All stages of the encoder are run, whatever the number of iterations, so that the graph needs no
    condition; to save work in the encoder, there are the stages. The early iterations see the
    features of the first stages alone, as everywhere.

    Args:
      model: a model that computes in float32.
      size: the `(height, width)` of the images, in pixels; None for any size.
      batch: the number of images at a time; None for any number.
      outputs: a function from the canvas and the size of the images to the outputs, by name.

    Returns:
      A traced `tf.function`; fewer than one iteration count as one.
    """

    def segment(image, iterations=1):
        if model.recurrent:
            iterations = tf.maximum(iterations, 1)
        canvas = model.canvas_of(image, iterations)
        return outputs(canvas, size or tf.shape(image)[1:3])

    number = [tf.TensorSpec((), tf.int32, "iterations")] if model.recurrent else []
    return traced(segment, image_spec(size, batch), *number)


def image_spec(size: tuple[int, int] | None, batch: int | None) -> tf.TensorSpec:
    """Returns the type of images: uint8 RGB, `(batch, height, width, 3)`."""
    return tf.TensorSpec((batch, *(size or (None, None)), 3), tf.uint8, "image")


def seeded_canvas(classes: tf.Tensor, model: SegmentationModel) -> tf.Tensor:
    """Converts class maps to logits to start from.

    Args:
      classes: int32, `(batch, H, W)`; a number that is no class, such as 255, means unknown.
      model: the model whose canvas it will be.

    Returns:
      Float32 `(batch, h, w, classes)`: for the class at the place of a canvas pixel
      `SEED_STRENGTH`, for the other classes its negative; zero if the class is unknown. Canvas
      pixels beyond the class map take the pixel at its edge.
    """
    for axis in (1, 2):
        length = classes.shape[axis] or tf.shape(classes)[axis]
        size = grid.canvas_size(length, model.output_stride, model.canvas_stride)
        places = model.canvas_stride * tf.range(size)
        classes = tf.gather(classes, tf.minimum(places, length - 1), axis=axis)
    known = (classes >= 0) & (classes < model.num_classes)
    logits = tf.one_hot(classes, model.num_classes, SEED_STRENGTH, -SEED_STRENGTH)
    # For any size, LiteRT has no operator for [..., tf.newaxis].
    return logits * tf.expand_dims(tf.cast(known, tf.float32), -1)


def traced(function: Callable, *specs: tf.TensorSpec) -> Any:
    """Traces a function of tensors, which take the names of their specifications."""
    graph = tf.function(function, autograph=False)
    graph.get_concrete_function(**{spec.name: spec for spec in specs})
    return graph


def in_float32(model: SegmentationModel) -> SegmentationModel:
    """Returns the model, or a copy of it that computes in float32."""
    if model.compute_dtype == "float32":
        return model
    copy = type(model).from_config(model.get_config() | {"dtype": "float32"})
    copy.set_weights(model.get_weights())
    copy.loaded_from = model.loaded_from
    return copy
