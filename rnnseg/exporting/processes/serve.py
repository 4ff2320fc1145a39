"""Serves a SavedModel by TensorFlow alone: serve.py SAVED_MODEL FOLDER NUMBERS EARLY.

FOLDER holds images, `*.npy`, uint8 `(1, H, W, 3)`, and `initial_state.json`, the initial values of
canvas and state by name, one value per channel. NUMBERS are numbers of iterations, separated by
commas; EARLY are those on each stage of the encoder before the last, likewise, or nothing. For
every image, `NAME.npz` gets the results of each number N: `segment_N`, the class map of `segment`,
and `read_N` and `canvas_N`, class map and canvas of `encode`, `refine` and `read`.
"""

import itertools
import json
import pathlib
import sys

import numpy as np
import tensorflow as tf


def main(saved_model: str, folder: str, numbers: str, early: str) -> None:
    """Segments all images and writes the results."""
    loaded = tf.saved_model.load(saved_model)
    initial = json.loads(pathlib.Path(folder, "initial_state.json").read_text())
    numbers = sorted(map(int, numbers.split(",")))
    starts = [0, *itertools.accumulate(int(each) for each in early.split(",") if each)]
    for path in sorted(pathlib.Path(folder).glob("*.npy")):
        image = tf.constant(np.load(path))
        results = {}
        for number, canvas in _canvases(loaded.signatures, image, initial, numbers, starts):
            size = tf.constant(image.shape[1:3])
            read = loaded.signatures["read"](canvas=canvas, size=size)
            iterations = {"iterations": tf.constant(number)} if initial else {}
            whole = loaded.signatures["segment"](image=image, **iterations)
            results |= {
                f"segment_{number}": whole["classes"].numpy()[0],
                f"read_{number}": read["classes"].numpy()[0],
                f"canvas_{number}": canvas.numpy()[0],
            }
        np.savez(path.with_suffix(".npz"), **results)


def _canvases(signatures, image, initial, numbers, starts):
    """Yields each number of iterations and the canvas after it; feed-forward models have one.

    `starts` are the numbers of iterations before each stage of the encoder.
    """
    encoded = signatures["encode"](image=image)
    if not initial:
        yield 1, encoded["canvas"]
        return
    place = encoded["prepared"].shape[:3]
    variables = {
        name: tf.broadcast_to(tf.constant(values, tf.float32), (*place, len(values)))
        for name, values in initial.items()
    }
    for number in range(1, numbers[-1] + 1):
        if number - 1 in starts[1:]:
            encoded = signatures[f"encode_{starts.index(number - 1)}"](**encoded)
        variables = signatures["refine"](prepared=encoded["prepared"], **variables)
        if number in numbers:
            yield number, variables["canvas"]


if __name__ == "__main__":
    main(*sys.argv[1:])
