"""Checks training and evaluation on a GPU, and measures them.

    python -m experiments.gpu_check

Nobody has run this package on a GPU yet. This command does all that has to be seen on one, in less
than ten minutes, and writes a table:

- the devices, and the speed of a product of two large matrices in each precision, the peak;
- the operations of a training step that have no kernel for GPUs, or none for XLA on GPUs, by the
  kernels that TensorFlow has registered (its wheel for Linux has those of GPUs, also on a machine
  without one);
- a training step in float32, mixed_bfloat16 and mixed_float16, of the recurrent model and of
  DeepLabv3 on the same encoder, without and with XLA (`jit_compile`): milliseconds, the share of
  the peak, memory. TensorFlow computes float32 products of GPUs in TF32;
- memory of a step against the number of iterations, with all activations and with checkpointing;
- evaluation: milliseconds of an image with all class maps, and of one iteration;
- the losses of 50 steps beside those of the CPU in float32, with pixels of label 255;
- with two GPUs or more, the weights after three steps on all of them beside those of one.

A line begins with "ok" or "FAILED" where there is something to compare with, and the exit status is
1 if anything failed. On a CPU it does the same with a tiny model and says so.

What is known of TensorFlow's kernels, from its sources and issues:

- the cross-entropy of a label that is no class is an error on a CPU, and NaN without a word on a
  GPU and under XLA (tensorflow issues 8484, 126005); `SegmentationLoss` sets ignored labels to 0
  before it, and training checks all labels beforehand;
- XLA has the gradient of `ResizeBilinear` with aligned corners, which the canvas is read with, but
  not with half-pixel centres (issue 57575);
- XLA needs to know the largest number of iterations for the gradient of a loop, and room for all of
  their activations. The recurrent model has `supports_jit = False`, so that Keras compiles it only
  after `model.supports_jit = True` and `compile(jit_compile=True)`;
- `ResizeBilinearGrad` adds up in any order on a GPU (pull request 39243): two runs differ in the
  last digits, unless `tf.config.experimental.enable_op_determinism()` is called.
"""

import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Sequence

import click
import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework import kernels

import rnnseg
from rnnseg.budgets import timing
from rnnseg.budgets.costs import stage_costs
from rnnseg.cli.base import Command
from rnnseg.errors import first_line, shortened
from rnnseg.evaluation.evaluator import Evaluator
from rnnseg.models.base import SegmentationModel
from rnnseg.models.baselines.deeplabv3 import DeepLabV3
from rnnseg.training.replicas import gpus

from . import options
from .measuring import peak_memory

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
_KINDS = {"recurrent": rnnseg.RecurrentSegmenter, "DeepLabv3": DeepLabV3}
_CLASSES = 21
_ITERATIONS = (1, 3, 6, 12)
_IGNORED_ROWS = 5
_CURVE_STEPS = 50
# The mean difference of the losses of two precisions, as a share of the loss. A mantissa has 10
# bits in TF32 and float16, and 7 in bfloat16; fifty steps add up what they round.
_TOLERANCES = {"float32": 0.01, "mixed_bfloat16": 0.05, "mixed_float16": 0.03}
_WEIGHTS_TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is measured.

    Attributes:
      device: "GPU:0" or "CPU:0".
      encoder: the name of the encoder.
      size: the side of the images, in pixels.
      batch: the number of images of a step.
      repeats: the number of timed calls.
      matrix: the side of the matrices whose product is the peak.
    """

    device: str
    encoder: str
    size: int
    batch: int
    repeats: int
    matrix: int

    @property
    def is_gpu(self) -> bool:
        """True on a GPU."""
        return self.device.startswith("GPU")


@click.command(cls=Command)
@click.option("--encoder", help="Encoder.  [default: mobilenet_v2; small_cnn on a CPU]")
@click.option("--size", type=click.IntRange(33, 2049), help="Side of images.  [default: 513; 65]")
@click.option("--batch", type=click.IntRange(1, 1024), help="Images per step.  [default: 16; 2]")
@options.repeats(10)
@click.option(
    "--out",
    type=click.Path(path_type=pathlib.Path),
    default="gpu_check.txt",
    show_default=True,
    help="Text file for what is printed.",
)
def main(encoder, size, batch, repeats, out):
    """Check and measure everything on a GPU, or on a CPU in a small size."""
    is_gpu = bool(gpus())
    setting = Setting(
        "GPU:0" if is_gpu else "CPU:0",
        encoder or ("mobilenet_v2" if is_gpu else "small_cnn"),
        size or (513 if is_gpu else 65),
        batch or (16 if is_gpu else 2),
        repeats,
        8192 if is_gpu else 512,
    )
    lines = []
    for line in check(setting):
        click.echo(line)
        lines.append(line)
    out.write_text("\n".join(lines) + "\n")
    failed = sum(line.startswith("FAILED") for line in lines)
    click.echo(f"\n{failed} failed; wrote {out}" if failed else f"\nwrote {out}")
    if failed:
        raise SystemExit(1)


def check(setting: Setting) -> Iterator[str]:
    """Yields the lines of the report, each as soon as it is known."""
    yield from devices(setting)
    peaks = {}
    yield ""
    for precision in PRECISIONS:
        with attempt() as failure:
            peaks[precision] = matrix_peak(setting, precision)
            yield f"peak of {setting.matrix}x{setting.matrix} matrices, {precision}: " + (
                f"{peaks[precision] / 1e12:.2f} TFLOP/s"
            )
        yield from failure
    yield ""
    with attempt() as failure:
        yield from missing_kernels(setting)
    yield from failure
    yield ""
    yield f"training step, {setting.batch} images of {setting.size}x{setting.size}"
    yield f"{'model':10s} {'precision':15s} {'XLA':4s} {'ms':>9s} {'of peak':>8s} {'memory':>10s}"
    for kind in _KINDS:
        for precision in PRECISIONS:
            for jit in (False, True):
                yield step_line(setting, kind, precision, jit, peaks.get(precision))
    yield ""
    yield f"memory of a training step by iterations{'' if setting.is_gpu else ', resident'}"
    for recompute in (False, True):
        with attempt() as failure:
            used = [step_memory(setting, number, recompute) for number in _ITERATIONS]
            yield f"{'checkpointing' if recompute else 'all activations':16s} " + ", ".join(
                f"{number}: {each / 1e6:.0f} MB"
                for number, each in zip(_ITERATIONS, used, strict=True)
            )
        yield from failure
    yield ""
    with attempt() as failure:
        yield from evaluation(setting)
    yield from failure
    yield ""
    with attempt() as failure:
        yield from curves(setting)
    yield from failure
    yield ""
    with attempt() as failure:
        yield from replicas(setting)
    yield from failure


@contextlib.contextmanager
def attempt() -> Iterator[list[str]]:
    """Goes on after an error of the block; the list then has a line that tells it."""
    failure = []
    try:
        yield failure
    except Exception as error:  # whatever a device makes of it, the next line may still be of use
        failure.append(f"FAILED {type(error).__name__}: {shortened(first_line(error), 200)}")


def devices(setting: Setting) -> Iterator[str]:
    """Yields what TensorFlow sees."""
    found = tf.config.list_physical_devices("GPU")
    yield f"TensorFlow {tf.__version__}, Keras {keras.__version__}, {len(found)} GPUs"
    for each in found:
        details = tf.config.experimental.get_device_details(each)
        yield f"{each.name}: {details.get('device_name')}, compute capability " + ".".join(
            map(str, details.get("compute_capability", ("unknown",)))
        )
    if not setting.is_gpu:
        yield "no GPU: everything below is of the CPU, in a small size, and no measure of a GPU"


def matrix_peak(setting: Setting, precision: str) -> float:
    """Returns the operations per second of a matrix product in the type of a policy."""
    side, dtype = setting.matrix, keras.DTypePolicy(precision).compute_dtype
    with tf.device(setting.device):
        matrix = tf.cast(tf.random.normal((side, side)), dtype)
        product = tf.function(lambda: tf.reduce_sum(tf.matmul(matrix, matrix)), autograph=False)
        (seconds,) = timing.take_turns([lambda: product().numpy()], setting.repeats)
    return 2 * side**3 / seconds


def missing_kernels(setting: Setting) -> Iterator[str]:
    """Yields the operations of a training step that a GPU, or XLA on one, has no kernel for."""
    for kind in _KINDS:
        model = build(setting, kind, "float32")
        images, labels = batch_of(setting)

        def step(images, labels, model=model):
            with tf.GradientTape() as tape:
                seen = model.weighted_logits if model.recurrent else model
                loss = model.compute_loss(images, labels, seen(images))
            return tape.gradient(loss, model.trainable_variables)

        traced = tf.function(step, autograph=False).get_concrete_function(images, labels)
        definition = traced.graph.as_graph_def()
        nodes = [*definition.node, *(n for f in definition.library.function for n in f.node_def)]
        functions = {each.signature.name for each in definition.library.function}
        for device in ("GPU", "XLA_GPU_JIT"):
            missing = sorted({n.op for n in nodes} - functions - _operations_of(device, nodes))
            listed = ", ".join(missing) or "none"
            yield f"{kind}: operations without a kernel for {device}: {listed}"


def _operations_of(device: str, nodes) -> set[str]:
    """Returns the operations among nodes of a graph that have a kernel for a kind of device."""
    # Those of "DEFAULT" run on all devices; inputs of a function are no operations.
    kinds = {device, "DEFAULT"}
    return {"Placeholder"} | {
        name
        for name in {node.op for node in nodes}
        if any(
            each.device_type in kinds for each in kernels.get_registered_kernels_for_op(name).kernel
        )
    }


def build(
    setting: Setting,
    kind: str,
    precision: str,
    jit: bool = False,
    **changed,
) -> SegmentationModel:
    """Builds and compiles a model with random weights, all of which are trained but batch norm.

    Args:
      setting: what is measured.
      kind: one of the models.
      precision: the dtype policy.
      jit: True to compile the step by XLA.
      **changed: further options of the model.
    """
    keras.utils.set_random_seed(1)
    model = _KINDS[kind](
        _CLASSES,
        encoder=setting.encoder,
        encoder_weights=None,
        output_stride=8 if setting.encoder == "small_cnn" else 16,
        freeze_batch_norm=True,
        dtype=precision,
        **changed,
    )
    # Otherwise Keras goes on without XLA where a model does not say that it can do with it.
    model.supports_jit |= jit
    model.compile(
        keras.optimizers.SGD(0.01, momentum=0.9), rnnseg.SegmentationLoss(), jit_compile=jit
    )
    return model


def batch_of(setting: Setting, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns images of grey blocks and noise, and their labels, some of them ignored."""
    rng = np.random.default_rng(seed)
    side = setting.size
    blocks = rng.integers(0, _CLASSES, (setting.batch, side // 16 + 1, side // 16 + 1))
    labels = blocks.repeat(16, 1).repeat(16, 2)[:, :side, :side].astype(np.uint8)
    noise = rng.integers(0, 40, (*labels.shape, 3))
    images = (labels[..., np.newaxis] * 10 + noise).astype(np.uint8)
    labels[:, -_IGNORED_ROWS:] = 255
    return images, labels


def step_line(setting: Setting, kind: str, precision: str, jit: bool, peak: float | None) -> str:
    """Returns the line of a model in the table of training steps."""
    head = f"{kind:10s} {precision:15s} {'yes' if jit else 'no':4s} "
    try:
        with tf.device(setting.device):
            model = build(setting, kind, precision, jit)
            images, labels = map(tf.constant, batch_of(setting))
            losses = []

            def step():
                losses.append(float(model.train_on_batch(images, labels)))

            memory = _memory_of(setting, step)
            (seconds,) = timing.take_turns([step], setting.repeats)
    except Exception as error:  # an operator that a device or XLA lacks
        reason = shortened(" ".join(str(error).split()), 300)
        return f"{'' if jit else 'FAILED '}{head}{type(error).__name__}: {reason}"
    if not np.isfinite(losses).all():
        return f"FAILED {head}the loss is {losses[-1]}"
    operations = 2 * setting.batch * step_multiply_adds(model, setting.size)
    share = "" if peak is None else f"{100 * operations / seconds / peak:6.1f} %"
    return f"{head}{1000 * seconds:9.1f} {share:>8s} {memory / 1e6:7.0f} MB"


def step_multiply_adds(model: SegmentationModel, size: int) -> int:
    """Returns the multiply-adds of a training step for one image: three times the forward pass.

    The backward pass computes every product of the forward pass twice, for the gradients of its two
    factors.
    """
    iterations = model.iterations if model.recurrent else 1
    return 3 * stage_costs(model, size, size).total(iterations)


def _memory_of(setting: Setting, function: Callable) -> int:
    """Returns the peak memory of a call, in bytes, beyond that before it."""
    if not setting.is_gpu:
        return peak_memory(function)
    tf.config.experimental.reset_memory_stats(setting.device)
    before = tf.config.experimental.get_memory_info(setting.device)["current"]
    function()
    return tf.config.experimental.get_memory_info(setting.device)["peak"] - before


def step_memory(setting: Setting, iterations: int, recompute: bool) -> int:
    """Returns the peak memory of a training step, in bytes.

    Args:
      setting: what is measured.
      iterations: the number of iterations.
      recompute: True with checkpointing.
    """
    with tf.device(setting.device):
        model = build(
            setting,
            "recurrent",
            "float32",
            iterations=iterations,
            recompute=recompute,
            early_iterations=(),
        )
        images, labels = map(tf.constant, batch_of(setting))
        return _memory_of(setting, lambda: model.train_on_batch(images, labels))


def evaluation(setting: Setting) -> Iterator[str]:
    """Yields the times of an image in evaluation."""
    image = batch_of(setting)[0][0]
    for kind in _KINDS:
        with tf.device(setting.device):
            model = build(setting, kind, "float32")
            numbers = _ITERATIONS if model.recurrent else (1,)
            unroll = Evaluator(model, numbers).unroll
            calls = [functools.partial(unroll.predict, image, number) for number in numbers]
            calls.append(functools.partial(_all_maps, unroll, image, numbers))
            *single, whole = timing.take_turns(calls, setting.repeats)
        text = f"evaluation of an image, {kind}: {1000 * whole:.1f} ms with {len(numbers)} class "
        text += f"maps; a prediction {1000 * single[-1]:.1f} ms"
        if model.recurrent:
            latency = timing.fit(dict(zip(numbers, single, strict=True)), model.first_iterations)
            text += f", an iteration {1000 * latency.each:.2f} ms"
        yield text


def _all_maps(unroll, image: np.ndarray, numbers: Sequence[int]) -> None:
    for _ in unroll(image, numbers):
        pass


def curves(setting: Setting) -> Iterator[str]:
    """Yields the differences of losses from those of the CPU in float32."""
    small = dataclasses.replace(setting, size=min(setting.size, 129), batch=min(setting.batch, 4))
    reference = losses_of(dataclasses.replace(small, device="CPU:0"), "float32")
    yield (
        f"losses of {_CURVE_STEPS} steps on the CPU in float32: {reference[0]:.4f} to "
        f"{reference[-1]:.4f}"
    )
    for precision in PRECISIONS:
        with attempt() as failure:
            found = losses_of(small, precision)
            difference = float(np.mean(np.abs(found - reference) / reference))
            allowed = _TOLERANCES[precision]
            word = "ok" if difference <= allowed else "FAILED"  # NaN fails, too
            yield (
                f"{word} {setting.device} {precision}: on average {100 * difference:.3f} % from "
                f"it, at most {100 * allowed:g} % expected"
            )
        yield from failure


def losses_of(setting: Setting, precision: str) -> np.ndarray:
    """Returns the losses of some training steps on a device."""
    with tf.device("CPU:0"):
        weights = build(setting, "recurrent", "float32").get_weights()
    with tf.device(setting.device):
        model = build(setting, "recurrent", precision)
        model.set_weights(weights)
        batches = [tuple(map(tf.constant, batch_of(setting, seed))) for seed in range(5)]
        losses = []
        for step in range(_CURVE_STEPS):
            model.reset_metrics()
            losses.append(float(model.train_on_batch(*batches[step % len(batches)])))
    return np.array(losses)


def replicas(setting: Setting) -> Iterator[str]:
    """Yields the difference of weights that were trained on all GPUs and on one."""
    names = gpus()
    if len(names) < 2:
        yield f"replicas: needs two GPUs, there are {len(names)}"
        return
    images, labels = batch_of(dataclasses.replace(setting, batch=2 * len(names)))
    found = []
    for strategy in (
        tf.distribute.OneDeviceStrategy(setting.device),
        tf.distribute.MirroredStrategy(names),
    ):
        with strategy.scope():
            model = build(setting, "recurrent", "float32")
        data = tf.data.Dataset.from_tensors((images, labels)).repeat(3)
        model.fit(data, shuffle=False, verbose=0)
        found.append(model.get_weights())
    difference = max(
        float(np.max(np.abs(one - other)) / max(np.max(np.abs(one)), 1e-6))
        for one, other in zip(*found, strict=True)
    )
    word = "ok" if difference <= _WEIGHTS_TOLERANCE else "FAILED"
    yield f"{word} {len(names)} replicas: weights after 3 steps differ by {difference:.1e} at most"


if __name__ == "__main__":
    main()
