"""The recurrence written a second time, in NumPy, straight from its equations."""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def convolve(x, kernel, bias=None, dilation=1):
    """A "same" convolution of stride 1: x (b, h, w, c), kernel (k, k, c, f)."""
    side = kernel.shape[0]
    reach = dilation * (side - 1)
    around = (reach // 2, reach - reach // 2)
    padded = np.pad(x, [(0, 0), around, around, (0, 0)])
    height, width = x.shape[1:3]
    out = 0.0
    for row in range(side):
        for column in range(side):
            top, left = row * dilation, column * dilation
            out = out + padded[:, top : top + height, left : left + width] @ kernel[row, column]
    return out if bias is None else out + bias


def upsample(x, factor):
    """Bilinear interpolation with aligned corners: (b, h, w, c) to factor (h - 1) + 1 and so on."""
    for axis in (1, 2):
        places = np.arange(factor * (x.shape[axis] - 1) + 1) / factor
        before = np.minimum(places.astype(int), x.shape[axis] - 2) if x.shape[axis] > 1 else 0
        before = np.zeros_like(places, int) + before
        after = np.minimum(before + 1, x.shape[axis] - 1)
        shape = [1] * 4
        shape[axis] = -1
        weight = (places - before).reshape(shape)
        x = (1 - weight) * x.take(before, axis) + weight * x.take(after, axis)
    return x


def refine(stack, features, iterations, canvas=None, dilation=1):
    """Every canvas, with the features' kernels and the rest as one kernel over [features, canvas,
    h].

    Args:
      stack: a built ConvLSTMStack, only its weights are used.
      features: (b, h, w, c); of several depths: upsampled, one behind the other; or one of them per
        iteration.
      iterations: how many.
      canvas: to start from; None: zeros, or what a learned start has learned.
      dilation: of the kernels.

    Returns:
      (iterations, b, h, w, classes), float64.
    """
    weights = {weight.path.split("/", 1)[1]: np.float64(weight) for weight in stack.weights}
    seen = features if isinstance(features, list) else [features] * iterations
    place = seen[0].shape[:3]

    def start(name, width):
        return np.zeros((*place, width)) + weights.get(f"initial_{name}", 0)

    states = [
        (start(f"h_{layer}", width), start(f"c_{layer}", width))
        for layer, width in enumerate(stack.widths)
    ]
    canvas = start("canvas", stack.num_classes) if canvas is None else np.float64(canvas)
    every = []
    for features in seen:
        x = np.concatenate([features, canvas], -1)
        for layer, (h, c) in enumerate(states):
            kernel = weights[f"cell_{layer}/gates/kernel"]
            if layer == 0:
                skips = [f"skip_gates_{n}/kernel" for n in range(len(stack.skip_gates))]
                kernels = [weights[name] for name in (*skips, "feature_gates/kernel")]
                kernel = np.concatenate([*kernels, kernel], 2)
                bias = weights["feature_gates/bias"]
            else:
                bias = weights[f"cell_{layer}/gates/bias"]
            gates = convolve(np.concatenate([x, h], -1), kernel, bias, dilation)
            i, f, g, o = np.split(gates, 4, -1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            states[layer] = (h, c)
            x = h
        canvas = canvas + weights.get("increment_scale", 1) * x
        every.append(canvas)
    return np.stack(every)
