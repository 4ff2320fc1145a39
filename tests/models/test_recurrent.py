import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import rnnseg
from rnnseg.budgets import costs
from rnnseg.models.encoder import DEEPEST
from rnnseg.stages import Prediction
from tests.support import reference
from tests.support.models import make_model, settle_batch_norm


def random_images(height=33, width=41, batch=2, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (batch, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("kernel_size", [1, 3])
@pytest.mark.parametrize("seeded", [False, True])
@pytest.mark.parametrize("learned_start", [False, True])
def test_refine_is_the_reference(kernel_size, seeded, learned_start):
    model = make_model(kernel_size=kernel_size, learned_start=learned_start)
    for seed, weight in enumerate(model.stack.initial_values.values()):
        weight.assign(np.random.default_rng(seed).normal(size=weight.shape))
    features = np.random.default_rng(1).normal(size=(2, 5, 6, model.encoder.channels))
    features = features.astype(np.float32)
    canvas = np.float32(np.random.default_rng(2).normal(size=(2, 5, 6, 4))) if seeded else None
    expected = reference.refine(model.stack, features, 12, canvas)
    prepared = model.prepare({DEEPEST: features})
    for iterations in (1, 2, 6, 12):
        refined, _ = model.refine(prepared, iterations, canvas=canvas)
        np.testing.assert_allclose(refined, expected[iterations - 1], atol=1e-5)


@pytest.mark.parametrize("kernel_size", [1, 3])
@pytest.mark.parametrize("learned_start", [False, True])
def test_one_trace_serves_every_number_of_iterations_and_every_size(kernel_size, learned_start):
    model = make_model(kernel_size=kernel_size, learned_start=learned_start)
    traces = []

    @tf.function(
        input_signature=[tf.TensorSpec((None, None, None, 24)), tf.TensorSpec((), tf.int32)]
    )
    def refine(prepared, iterations):
        canvas, _ = model.refine(prepared, iterations)
        traces.append(canvas.shape)
        return canvas

    for size in ((33, 41), (20, 60)):
        prepared = model.prepare(model.encode(random_images(*size)))
        for iterations in (1, 2, 6, 12):
            expected, _ = model.refine(prepared, iterations)
            found = refine(prepared, tf.constant(iterations))
            np.testing.assert_allclose(found, expected, atol=1e-6)
    (shape,) = traces
    assert shape.as_list() == [None, None, None, 4]


def test_first_iteration_multiplies_no_zeros():
    model = make_model()
    prepared = tf.TensorSpec((1, 7, 11, 24))
    # What is in the loop, the later ones, does not count.
    multiply_adds = costs.count_multiply_adds(lambda each: model.refine(each, 3)[0], prepared)
    assert multiply_adds == 7 * 11 * 4 * (5 * 6 + 4 * 5)


def test_loop_repeats_nothing_that_every_iteration_shares():
    """Weights are read, converted and copied before it."""
    model = make_model(dtype="mixed_bfloat16")
    refine = tf.function(
        lambda prepared: model.refine(prepared, tf.constant(5))[0], autograph=False
    )
    prepared = tf.TensorSpec((1, 7, 11, 24), tf.bfloat16)
    graph = refine.get_concrete_function(prepared).graph
    (loop,) = (each for each in graph.get_operations() if "While" in each.type)
    body = graph._get_function(loop.get_attr("body").name).graph
    for each in body.get_operations():
        assert each.type != "ReadVariableOp"
        if each.type in ("Cast", "Split"):
            assert each.outputs[0].shape.num_elements() % (7 * 11) == 0  # of the image


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_refining_in_parts_is_refining_at_once(kernel_size):
    model = make_model(kernel_size=kernel_size)
    prepared = model.prepare(model.encode(random_images()))
    canvas, state = model.refine(prepared, 2)
    canvas, _ = model.refine(prepared, 4, canvas, state)
    np.testing.assert_allclose(canvas, model.refine(prepared, 6)[0], atol=1e-6)


def test_trace_holds_the_canvas_of_every_iteration():
    model = make_model()
    images = random_images()
    trace = model.unroll(images, 3).numpy()
    assert trace.shape == (3, 2, 5, 6, 4)
    prepared = model.prepare(model.encode(images))
    for iterations, canvas in enumerate(model.unroll(images, 3, trace[0]), start=1):
        expected, _ = model.refine(prepared, iterations, trace[0])
        np.testing.assert_allclose(canvas, expected, atol=1e-6)
    for iterations in (1, 2, 3):
        logits = model(images, iterations=iterations)
        assert logits.shape == (2, 33, 41, 4) and logits.dtype == tf.float32
        np.testing.assert_allclose(model.logits(trace[iterations - 1], (33, 41)), logits, atol=1e-6)


def test_call_runs_the_trained_iterations_and_takes_a_canvas():
    model = make_model(iterations=3)
    images = random_images()
    np.testing.assert_array_equal(model(images), model(images, iterations=3))
    canvas = np.float32(np.random.default_rng(0).normal(size=(2, 5, 6, 4)))
    seeded = model(images, iterations=2, canvas=canvas)
    expected, _ = model.refine(model.prepare(model.encode(images)), 2, canvas)
    np.testing.assert_allclose(seeded, model.logits(expected, (33, 41)), atol=1e-6)
    assert not np.allclose(seeded, model(images, iterations=2))


def test_read_is_the_argmax_at_the_image_s_size():
    model = make_model()
    images = random_images(40, 50)
    canvas = model.unroll(images, 2)[-1]
    class_map = model.read(canvas, (40, 50))
    assert class_map.dtype == tf.int32 and class_map.shape == (2, 40, 50)
    np.testing.assert_array_equal(class_map, np.argmax(model(images, iterations=2), -1))


def test_float_images_are_uint8_images():
    model = make_model()
    images = random_images()
    np.testing.assert_array_equal(model(images), model(images.astype(np.float32)))


def fit(model, epochs=2):
    images = random_images(batch=4) // 2
    images[:, :, 20:] += 128  # what there is to learn: dark and bright halves
    labels = np.zeros(images.shape[:3], np.uint8)
    labels[:, :, 20:] = 1
    labels[:, :3] = 255
    model.compile(
        loss=rnnseg.SegmentationLoss(),
        optimizer=keras.optimizers.SGD(0.1, momentum=0.9),
    )
    return model.fit(images, labels, batch_size=2, epochs=epochs, verbose=0).history, images, labels


def test_fit_learns_and_ignores_255():
    history, _, _ = fit(make_model(), epochs=15)
    assert history["loss"][-1] < 0.5 * history["loss"][0]


def test_iteration_weights_are_the_weighted_mean_of_the_losses():
    model = make_model(iterations=3, iteration_weights=(1, 0, 3), l2=1e-3)
    _, images, labels = fit(model, epochs=1)
    model.reset_metrics()  # fit leaves a running mean
    weighted = model.train_on_batch(images, labels)
    model = make_model(iterations=3, iteration_weights=(1, 0, 3), l2=1e-3)
    fit(model, epochs=1)
    # Batch norm in training mode, as in the step above.
    logits = model.weighted_logits(images)
    assert len(logits) == 2
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    expected = 0.25 * loss(labels, logits[0]) + 0.75 * loss(labels, logits[1]) + sum(model.losses)
    np.testing.assert_allclose(weighted, expected, rtol=1e-4)


def test_there_are_logits_of_every_weighted_iteration_and_calls_give_the_last():
    model = make_model(iterations=3, iteration_weights=(1, 0, 3), train_encoder=False)
    model.stack.set_weights([10 * weight for weight in model.stack.get_weights()])
    images = random_images()
    first, last = model.weighted_logits(images)
    assert np.abs(first - last).max() > 1e-2
    np.testing.assert_allclose(last, model(images, training=True), atol=1e-6)
    np.testing.assert_allclose(first, model(images, iterations=1), atol=1e-6)
    np.testing.assert_allclose(last, model(images, iterations=3), atol=1e-6)


def test_l2_is_the_penalty_on_kernels():
    model = make_model(l2=0.01)
    kernels = [w for w in model.trainable_weights if w.path.endswith("kernel")]
    expected = 0.01 / 2 * sum(float(tf.reduce_sum(kernel**2)) for kernel in kernels)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-4)


def test_what_training_may_change():
    def trainable(**options):
        return {weight.path for weight in make_model(**options).trainable_weights}

    everything = trainable()
    stack_alone = {path for path in everything if path.startswith("stack/")}
    batch_norm = {path for path in everything if "_bn/" in path}
    assert len(stack_alone) == 7 and len(batch_norm) == 12 and len(everything) == 7 + 12 + 6
    assert trainable(train_encoder=False) == stack_alone
    assert trainable(freeze_batch_norm=True) == everything - batch_norm
    model = make_model(freeze_batch_norm=True)
    before = [w.numpy() for w in model.encoder.weights if "moving" in w.path]
    fit(model)
    after = [w.numpy() for w in model.encoder.weights if "moving" in w.path]
    np.testing.assert_equal(before, after)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_trains_with_float32_logits(policy):
    model = make_model(dtype=policy)
    history, images, _ = fit(model, epochs=1)
    logits = model(images)
    assert logits.dtype == tf.float32 and np.all(np.isfinite(logits))
    assert np.isfinite(history["loss"]).all()
    exact = make_model()
    exact.set_weights(model.get_weights())
    assert float(tf.reduce_max(tf.abs(exact(images) - logits))) < 0.1


def gradients(images, number=None, **options):
    """Loss and gradients of a training step, and the function that computed them."""
    model = make_model(**options)
    rng = np.random.default_rng(1)
    for weight in model.stack.initial_values.values():
        weight.assign(rng.normal(size=weight.shape) / 3)

    def step(number):
        with tf.GradientTape() as tape:
            if "iteration_weights" in options:
                every = model.weighted_logits(images)
            else:
                every = (model(images, iterations=number, training=True),)
            loss = sum(tf.reduce_mean(tf.sin(3 * logits + n)) for n, logits in enumerate(every))
        return [loss, *tape.gradient(loss, model.trainable_variables)]

    step = tf.function(step, autograph=False)
    return [each.numpy() for each in step(number)], step.get_concrete_function(number)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"learned_start": True, "number": tf.constant(4)},
        {"kernel_size": 3, "train_encoder": False},
        {"kernel_size": 3, "iteration_weights": (0, 1, 2), "iterations": 3, "learned_start": True},
        {"iteration_weights": (1, 0, 2), "iterations": 3},
        {"iterations": 1},
    ],
)
def test_recomputed_gradients_are_the_plain_ones(options):
    (plain, _), (found, _) = (
        gradients(random_images(batch=3), recompute=recompute, **options)
        for recompute in (False, True)
    )
    for ours, expected in zip(found, plain, strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": "mixed_bfloat16", "learned_start": True},
        {"dtype": "mixed_float16", "iteration_weights": (1, 0, 2), "iterations": 3},
    ],
)
def test_recomputed_gradients_of_two_bytes_are_as_exact_as_the_plain_ones(options):
    (exact, _), (plain, _), (found, _) = (
        gradients(random_images(batch=3), recompute=recompute, **(options | changed))
        for recompute, changed in ((False, {"dtype": "float32"}), (False, {}), (True, {}))
    )
    # The orders of sums, and with them the last bits, differ between processors.
    for ours, theirs, expected in zip(found, plain, exact, strict=True):
        error, allowed = np.linalg.norm(ours - expected), np.linalg.norm(theirs - expected)
        assert error <= 1.5 * allowed + 2e-3 * np.linalg.norm(expected)


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_recomputing_keeps_nothing_of_an_iteration(kernel_size):
    def kept(recompute):
        _, step = gradients(random_images(), kernel_size=kernel_size, recompute=recompute)
        loops = [each for each in step.graph.get_operations() if each.type.endswith("While")]
        # Lists of tensors, one an iteration, are what a loop hands to its gradient.
        return [sum(out.dtype == tf.variant for out in loop.outputs) for loop in loops]

    plain, recomputed = kept(False), kept(True)
    assert max(plain) > 10
    assert len(recomputed) == 2 and max(recomputed) <= 1


def test_recomputing_with_a_canvas_to_start_from():
    images, canvas = random_images(), tf.random.normal((2, 5, 6, 4), seed=1)

    def gradient(recompute):
        model = make_model(recompute=recompute)
        with tf.GradientTape() as tape:
            tape.watch(canvas)
            logits = model(images, canvas=canvas, training=True)
        return tape.gradient(logits, canvas, output_gradients=tf.sin(logits))

    np.testing.assert_allclose(gradient(True), gradient(False), atol=1e-5)
    with pytest.raises(rnnseg.UserError, match="canvas of shape"):
        make_model(recompute=True)(images, canvas=canvas[:, :4], training=True)


def test_a_model_saved_before_there_was_recomputing_loads(tmp_path):
    model = make_model(recompute=True)
    assert rnnseg.RecurrentSegmenter.from_config(model.get_config()).get_config()["recompute"]
    config = model.get_config()
    del config["recompute"]
    assert not rnnseg.RecurrentSegmenter.from_config(config).get_config()["recompute"]
    model.save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras").get_config()["recompute"]


def small_custom_encoder():
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(5, 7, strides=8, padding="same", activation="relu")(x)
    return keras.Model(inputs, x, name="mine")


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "learned_start": True, "class_names": list("abcd")},
        {"dtype": "mixed_bfloat16", "iteration_weights": (0, 1, 2), "iterations": 3, "l2": 1e-4},
        {"encoder": small_custom_encoder},
    ],
)
def test_saved_and_loaded_in_a_fresh_process_it_is_the_same_to_the_last_bit(tmp_path, options):
    if callable(options.get("encoder")):
        options = options | {"encoder": options["encoder"]()}
    model = make_model(**options)
    fit(model, epochs=1)
    images = random_images(50, 39)
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "expected.npz", images=images, logits=model(images, iterations=4))
    code = f"""
import rnnseg.registration, keras, numpy as np
expected = np.load({str(tmp_path / "expected.npz")!r})
model = keras.saving.load_model({str(tmp_path / "model.keras")!r})
np.testing.assert_array_equal(model(expected["images"], iterations=4), expected["logits"])
assert model.optimizer.iterations == 2
print(type(model).__name__, model.class_names, model.compute_dtype)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "RecurrentSegmenter" in done.stdout
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for before, after in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    assert loaded.count_params() == model.count_params()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"encoder": "vgg"}, "unknown encoder 'vgg'; expected one of resnet50"),
        ({"iterations": 0}, "iterations=0"),
        ({"num_classes": 0}, "num_classes=0"),
        ({"kernel_size": 1.5}, "kernel_size=1.5"),
        ({"hidden_channels": (8, 0)}, "hidden_channels=(8, 0): expected 1 to 4096"),
        ({"output_stride": 12}, "output_stride=12: expected one of 8, 16, 32"),
        ({"iteration_weights": (1, 1)}, "expected 6 numbers"),
        ({"class_names": ["a"]}, "class_names: 1 given for 4 classes"),
        ({"encoder_layer": "nowhere"}, "no layer 'nowhere'"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(rnnseg.UserError, match=re.escape(message)):
        make_model(**options)


def test_wrong_inputs_are_named():
    model = make_model()
    with pytest.raises(rnnseg.UserError, match="smaller than one output stride"):
        model(random_images(7, 40))
    with pytest.raises(rnnseg.UserError, match="expected .batch, height, width, 3."):
        model(random_images()[0])
    for iterations in (0, -1):
        with pytest.raises(rnnseg.UserError, match="expected a whole number of at least 1"):
            model(random_images(), iterations=iterations)
    with pytest.raises(rnnseg.UserError, match="canvas of shape"):
        model(random_images(), canvas=np.zeros((2, 5, 6, 7)))
    canvas = model.unroll(random_images(), 1)[0]
    with pytest.raises(rnnseg.UserError, match="a canvas of 5x6 covers 33x41 pixels at most"):
        model.read(canvas, (40, 41))


# Depths at strides 4, 8 and 16, of which the first two end a stage.
STAGED = dict(output_stride=16, canvas_stride=4, early_iterations=(1, 2), freeze_batch_norm=True)
MOBILENET = dict(encoder="mobilenet_v2_0.35", output_stride=16)


def make_deep(**options):
    """A model whose gates see several depths, with features that differ from pixel to pixel."""
    model = make_model(**STAGED | options)
    # Random weights: without statistics of its own batch norm lets the features fade out.
    settle_batch_norm(model.encoder.network, random_images(65, 81).astype(np.float32) / 127.5 - 1)
    return model


def test_the_canvas_is_finer_than_the_deepest_features():
    model = make_deep(canvas_stride=8, early_iterations=(), skip_layers=("stride8_conv1_relu",))
    assert (model.canvas_stride, model.output_stride) == (8, 16)
    assert [tuple(each) for each in model.encoder.depths] == [("stride8_conv1_relu", 128, 8),
                                                              (DEEPEST, 128, 16)]  # fmt: skip
    images = random_images(40, 50)
    canvases = model.unroll(images, 3)
    assert canvases.shape == (3, 2, *model.canvas_size(40, 50), 4) == (3, 2, 7, 9, 4)
    wide = {name: reference.upsample(np.float64(each), 2 if name == DEEPEST else 1)
            for name, each in model.encode(images).items()}  # fmt: skip
    expected = reference.refine(
        model.stack, np.concatenate([wide["stride8_conv1_relu"], wide[DEEPEST]], -1), 3
    )
    np.testing.assert_allclose(canvases, expected, atol=1e-5)
    assert model(images).shape == (2, 40, 50, 4)


def test_early_iterations_see_what_the_encoder_has_computed():
    """The reference runs every iteration on the features of its stage, upsampled."""
    model = make_deep()
    images = random_images(40, 50)
    features = model.encode(images)
    factors = {each.name: each.stride // model.canvas_stride for each in model.encoder.depths}
    wide = {name: reference.upsample(np.float64(features[name]), factors[name]) for name in factors}
    seen = []
    for count in (1, 2, 3):
        known = list(wide)[:count]
        seen.append(np.concatenate([wide[each] * (each in known) for each in wide], -1))
    expected = reference.refine(model.stack, [seen[0], seen[1], seen[1], seen[2], seen[2]], 5)
    found = model.unroll(images, 5).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(np.diff(found, axis=0)).min(axis=(1, 2, 3, 4)).max() < 1
    for iterations in range(1, 6):
        canvas = model.canvas_of(images, iterations)
        np.testing.assert_allclose(canvas, expected[iterations - 1], atol=1e-5)
        canvas = model.compiled_stages.canvas_of(images, iterations)
        np.testing.assert_allclose(canvas, expected[iterations - 1], atol=1e-5)
        prediction = Prediction(model, images)
        for _ in range(iterations):
            prediction.run_to(prediction.iterations + 1)
        assert prediction.stage == model.stages_for(iterations) == (1, 2, 2, 3, 3)[iterations - 1]
        np.testing.assert_allclose(prediction.canvas, expected[iterations - 1], atol=1e-5)


def test_a_prediction_may_jump_over_stages():
    model = make_deep()
    images = random_images(40, 50)
    prediction = Prediction(model.compiled_stages, images)
    np.testing.assert_allclose(prediction.run_to(5), model.unroll(images, 5)[-1], atol=1e-5)
    seed = np.float32(np.random.default_rng(0).normal(size=prediction.canvas.shape))
    seeded = Prediction(model, images, seed).run_to(2)
    np.testing.assert_allclose(seeded, model.unroll(images, 2, seed)[-1], atol=1e-5)


def test_few_iterations_do_not_run_the_rest_of_the_encoder():
    model = make_deep()

    def convolutions(iterations):
        traced = tf.function(lambda images: model.canvas_of(images, iterations), autograph=False)
        graph = traced.get_concrete_function(tf.TensorSpec((1, 40, 50, 3), tf.uint8)).graph
        return sum(each.type == "Conv2D" for each in graph.get_operations())

    # Two per stride of the encoder, and one for the gates' share of every depth.
    assert [convolutions(n) for n in (1, 2, 3, 4, 9)] == [4 + 1, 6 + 2, 6 + 2, 8 + 3, 8 + 3]


def test_settled_pixels_stop_in_the_last_stage_alone():
    model = make_deep(hidden_channels=(24, 12))
    images = random_images(40, 50)
    early = model.canvas_of(images, 2, stop_when_settled=True)
    np.testing.assert_array_equal(early, model.canvas_of(images, 2))
    compiled = model.compiled_stages.class_maps(images, 12, stop_when_settled=True)
    canvas = model.canvas_of(images, 12, stop_when_settled=True)
    np.testing.assert_array_equal(compiled, model.read(canvas, (40, 50)))
    model_12 = model.canvas_of(images, 12).numpy()
    assert np.mean(canvas.numpy().argmax(-1) == model_12.argmax(-1)) > 0.95


@pytest.mark.parametrize("recompute", [False, True])
def test_losses_at_early_iterations_train_every_stage(recompute):
    model = make_deep(
        iterations=4, iteration_weights=(1, 0, 1, 1), recompute=recompute, hidden_channels=(6,)
    )
    images = random_images(40, 50)
    with tf.GradientTape() as tape:
        outputs = model.weighted_logits(images)
        loss = sum(tf.reduce_sum(each[..., 0] ** 2) for each in outputs)
    canvases = model.unroll(images, 4)
    for output, iteration in zip(outputs, (1, 3, 4), strict=True):
        np.testing.assert_allclose(
            output, model.logits(canvases[iteration - 1], (40, 50)), atol=1e-5
        )
    gradients = tape.gradient(loss, model.stack.trainable_weights)
    assert len(model.stack.skip_gates) == 2
    for weight, gradient in zip(model.stack.trainable_weights, gradients, strict=True):
        assert np.any(gradient), weight.path


def test_checkpointing_has_the_gradient_of_early_iterations():
    images = random_images(24, 24)
    found = []
    for recompute in (False, True):
        model = make_deep(recompute=recompute, iterations=4, hidden_channels=(6,))
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(images, training=True) ** 2)
        found.append(tape.gradient(loss, model.trainable_weights))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_a_staged_model_is_saved_with_its_layers(tmp_path):
    model = make_deep()
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    images = random_images(40, 50)
    np.testing.assert_array_equal(loaded.unroll(images, 4), model.unroll(images, 4))
    assert loaded.options.skip_layers == ("stride4_conv2_relu", "stride8_conv2_relu")
    assert loaded.early_iterations == (1, 2) and loaded.canvas_stride == 4


def test_another_output_stride_spreads_the_canvas_and_keeps_the_layers():
    model = make_model(**MOBILENET, early_iterations=(1, 1))
    fine = model.at_output_stride(8)
    assert (fine.canvas_stride, fine.output_stride) == (4, 8)
    assert fine.options.skip_layers == model.options.skip_layers == ("block_5_add", "block_12_add")
    images = random_images(40, 50)
    assert fine.unroll(images, 1).shape[2:4] == fine.canvas_size(40, 50) == (11, 15)


def test_gates_see_the_last_layer_at_every_stride_unless_the_canvas_is_the_paper_s():
    def layers(**options):
        return make_model(**MOBILENET | options).options.skip_layers

    assert layers() == layers(output_stride=32) == ("block_5_add", "block_12_add")
    assert layers(canvas_stride=4) == ("block_2_add", "block_5_add", "block_12_add")
    assert layers(canvas_stride=16) == layers(output_stride=8) == layers(skip_layers=()) == ()
    assert layers(encoder="small_cnn", output_stride=16) == ("stride8_conv2_relu",)


def test_a_config_without_a_canvas_stride_is_the_paper_s():
    config = make_model(output_stride=16).get_config()
    for key in ("canvas_stride", "skip_layers", "early_iterations", "increment_scale"):
        del config[key]
    config["iteration_weights"] = None
    model = rnnseg.RecurrentSegmenter.from_config(config)
    assert model.canvas_stride == 16 and len(model.encoder.depths) == 1
    assert model.iteration_weights == (0, 0, 0, 0, 0, 1) and model.stack.increment_scale is None


def test_a_model_inside_another_is_trained_on_one_answer():
    model = make_model(output_stride=16)
    assert np.count_nonzero(model.iteration_weights) > 1
    inputs = keras.Input((32, 40, 3))
    outer = keras.Model(inputs, keras.layers.Softmax()(model(inputs)))
    outer.compile(loss="sparse_categorical_crossentropy", optimizer="sgd")
    images = random_images(32, 40)
    before = model.get_weights()
    outer.fit(images, np.zeros((len(images), 32, 40)), verbose=0)
    assert any(np.any(a != b) for a, b in zip(before, model.get_weights(), strict=True))


def test_wrong_strides_and_stages_are_named():
    with pytest.raises(rnnseg.UserError, match="canvas_stride=16: expected at most the output"):
        make_model(canvas_stride=16)
    with pytest.raises(rnnseg.UserError, match="canvas_stride=5: expected one of 4, 8, 16, 32"):
        make_model(canvas_stride=5)
    with pytest.raises(rnnseg.UserError, match="at most one number per skip layer, and there are"):
        make_deep(skip_layers=("stride8_conv2_relu",), early_iterations=(1, 1))
    with pytest.raises(rnnseg.UserError, match="expected fewer than the 3 iterations in training"):
        make_deep(iterations=3)
    with pytest.raises(rnnseg.UserError, match="stride4_conv1_relu has stride 4: expected a mul"):
        make_deep(canvas_stride=8, skip_layers=("stride4_conv1_relu",), early_iterations=())
    with pytest.raises(rnnseg.UserError, match="canvas_stride=2: expected one of"):
        make_model(**MOBILENET, canvas_stride=4).at_output_stride(8)
