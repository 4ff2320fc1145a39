"""Serves a SavedModel by nothing but TensorFlow: serve.py SAVED_MODEL FOLDER NUMBERS.

FOLDER holds images, `*.npy`, uint8 `(1, H, W, 3)`, and `start.json`, what canvas and state start
from, one list of values a channel by name. For every image `NAME.npz` takes what came of it after
each of the NUMBERS of iterations, separated by commas: `segment_N`, the class map of `segment`, and
`read_N` and `canvas_N`, those of `encode`, `refine` and `read`.
"""

import json
import pathlib
import sys

import numpy as np
import tensorflow as tf


def main(saved_model: str, folder: str, numbers: str) -> None:
    """Writes the results of all images."""
    loaded = tf.saved_model.load(saved_model)
    start = json.loads(pathlib.Path(folder, "start.json").read_text())
    numbers = sorted(map(int, numbers.split(",")))
    for path in sorted(pathlib.Path(folder).glob("*.npy")):
        image = tf.constant(np.load(path))
        results = {}
        for number, canvas in _canvases(loaded.signatures, image, start, numbers):
            size = tf.constant(image.shape[1:3])
            read = loaded.signatures["read"](canvas=canvas, size=size)
            iterations = {"iterations": tf.constant(number)} if start else {}
            whole = loaded.signatures["segment"](image=image, **iterations)
            results |= {
                f"segment_{number}": whole["classes"].numpy()[0],
                f"read_{number}": read["classes"].numpy()[0],
                f"canvas_{number}": canvas.numpy()[0],
            }
        np.savez(path.with_suffix(".npz"), **results)


def _canvases(signatures, image, start, numbers):
    """The canvas after each of the numbers of iterations; of a feed-forward model, the only one."""
    encoded = signatures["encode"](image=image)
    if not start:
        yield 1, encoded["canvas"]
        return
    place = encoded["prepared"].shape[:3]
    variables = {
        name: tf.broadcast_to(tf.constant(values, tf.float32), (*place, len(values)))
        for name, values in start.items()
    }
    for number in range(1, numbers[-1] + 1):
        variables = signatures["refine"](**encoded, **variables)
        if number in numbers:
            yield number, variables["canvas"]


if __name__ == "__main__":
    main(*sys.argv[1:])
