import dataclasses
import math
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

from experiments import paper_scale, step_costs
from rnnseg.budgets import costs as budgets
from rnnseg.training.config import TrainingConfig
from rnnseg.training.losses import SegmentationLoss
from tests.support.models import make_model

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "training.md"
SMALL = TrainingConfig(
    data="",
    encoder="small_cnn",
    output_stride=8,
    hidden_channels=(16, 8),
    iterations=4,
    l2=0.0,
    crop=(65, 65),
)
FROZEN = dataclasses.replace(SMALL, train_encoder=False)


def test_the_page_has_what_the_command_prints():
    result = CliRunner().invoke(paper_scale.main, [])
    assert result.exit_code == 0, result.output
    page = PAGE.read_text()
    blocks = [block for block in result.stdout.split("\n\n") if block.strip()]
    assert len(blocks) == 3 * len(paper_scale.TRAININGS)
    for block in blocks:
        assert f"\n{block.strip(chr(10))}\n" in page


def test_steps_and_hours_follow_from_images_and_device(monkeypatch):
    costs = step_costs.StepCosts(0, 10**6, multiply_adds=10**11, memory={16: 4 * 10**9, 2: 10**9})
    monkeypatch.setattr(step_costs, "step_costs", lambda config, classes, images: costs)
    device = paper_scale.Device(tflops=100.0, utilization=0.5, scaling=0.75)
    table = paper_scale.needs(paper_scale.TRAININGS["voc"], device, "float32").splitlines()
    steps = 10_582 // 16 * 46
    assert f"46 epochs, {steps:,} steps of 16 crops of 513x513" in table[0]
    cells = [cell.strip() for cell in table[-1].strip("| ").split("|")]
    hours = steps * 16 * 1e11 * 2 / 50e12 / 3600
    total = f"{steps * 16e11 / 1e15:.0f} P"
    times = [f"{hours:.1f} h", f"{hours / 6:.1f} h"]
    assert cells[1:] == ["1.0 M", "100 G", total, "4.0 GB", times[0], "1.0 GB", times[1], "5"]


@pytest.mark.parametrize("config", [SMALL, FROZEN])
def test_multiply_adds_are_those_of_the_profiler(config):
    """It counts normalisation, too, and leaves out gradients of the first iteration's zeros."""
    config = dataclasses.replace(config, hidden_channels=(256, 128))  # to weigh as the encoder does
    costs = step_costs.step_costs(config, 5, (1,))
    model = step_costs.build_unrolled(config, 5)
    traced = step_costs.trace_step(model, config.crop, 1)
    assert costs.multiply_adds == pytest.approx(step_costs.profiled_multiply_adds(traced), rel=0.05)


def test_checkpointing_costs_the_iterations_once_more_and_saves_memory():
    kept = step_costs.step_costs(FROZEN, 5, (1, 4))
    again = step_costs.step_costs(dataclasses.replace(FROZEN, recompute=True), 5, (1, 4))
    model = step_costs.build_unrolled(FROZEN, 5)
    iteration = budgets.stage_costs(model, *FROZEN.crop).refine
    assert again.multiply_adds - kept.multiply_adds == 4 * iteration
    assert again.memory[4] < kept.memory[4]
    single = dataclasses.replace(FROZEN, iterations=1, iteration_weights=None)
    one = step_costs.step_costs(single, 5, (4,))
    assert again.memory[4] == one.memory[4]
    assert kept.trainable == sum(math.prod(weight.shape) for weight in model.trainable_weights)


def test_what_is_traced_has_the_gradients_of_the_model():
    config = dataclasses.replace(SMALL, crop=(33, 33), iterations=3, iteration_weights=None)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 33, 33, 3), np.uint8)
    labels = rng.integers(0, 5, (2, 33, 33), np.uint8)
    unrolled = step_costs.build_unrolled(config, 5)
    model = make_model(num_classes=5, hidden_channels=(16, 8), iterations=3, freeze_batch_norm=True)
    model.set_weights(unrolled.get_weights())
    found = step_costs.trace_step(unrolled, config.crop, 2)(
        tf.constant(images), tf.constant(labels)
    )
    with tf.GradientTape() as tape:
        loss = SegmentationLoss()(labels, model(images, training=True))
    expected = tape.gradient(loss, model.trainable_variables)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_memory_counts_no_more_than_what_the_outputs_need():
    def spare(x):
        tf.reduce_sum(tf.linalg.matmul(x, tf.transpose(x)))  # of a hundred times the size of `x`
        return tf.nn.relu(x)

    traced = tf.function(spare).get_concrete_function(tf.TensorSpec((100, 1)))
    assert budgets.peak_memory(traced) <= 2 * 4 * 100
