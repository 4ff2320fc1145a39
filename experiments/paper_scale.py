r"""Estimates training at the paper's scale: commands, multiply-adds, memory and hours.

    python -m experiments.paper_scale
    python -m experiments.paper_scale voc --tflops 312 --precision mixed_bfloat16
    python -m experiments.paper_scale voc --measure

There are three trainings: ResNet-101 features on COCO, and on these features the stack for PASCAL
VOC (recipe `voc_paper`) and for Cityscapes (recipe `cityscapes_paper`). For each, the experiment
prints the commands from the archives to the test server's files, and a Markdown table, which
`docs/training.md` holds.

Multiply-adds and memory are counted on the graph of a step (`experiments/step_costs.py`). Hours
follow from the peak throughput of a GPU and an assumed utilization; they were never measured on a
GPU. `--measure` runs real steps with one to four images on this machine's CPU and prints their
memory beside the estimate, and the multiply-adds beside those of TensorFlow's profiler, which
counts activations and normalisation, too. It needs Linux.
"""

import dataclasses

import click

from rnnseg.cli.base import Command
from rnnseg.training.config import TrainingConfig, load_recipe

from .tables import markdown_table

_VIEWS = "--scales 0.5,0.75,1,1.25,1.5,1.75 --flip"
_GPUS = (1, 8)
_MEASURED = (1, 2, 4)  # images


@dataclasses.dataclass(frozen=True)
class Training:
    """A training at the paper's scale.

    Attributes:
      title: the name of the data.
      recipe: the name of the recipe.
      images: the number of training images.
      classes: the number of classes.
      epochs: the number of epochs; None for that of the recipe.
      options: options of `rnnseg train`, one table row each; the first row is the recipe itself.
      commands: the commands from the archives to the results.
      read: the images per second that a core reads and augments (`experiments.pipeline_benchmark`).
    """

    title: str
    recipe: str
    images: int
    classes: int
    epochs: int | None
    options: tuple[str, ...]
    commands: tuple[str, ...]
    read: float

    def config(self, options: str, precision: str) -> TrainingConfig:
        """Returns the configuration of the run with one of `options`."""
        values = load_recipe(self.recipe)
        if "--train-encoder" in options:
            values["train_encoder"] = True
        if "--recompute" in options:
            values["recompute"] = True
        return TrainingConfig(data="", precision=precision, **values)


TRAININGS = {
    "coco": Training(
        title="Features from COCO",
        recipe="voc_paper",
        images=60_000,
        classes=21,
        epochs=30,
        options=("--train-encoder",),
        commands=(
            "rnnseg prepare coco --out data/coco",
            "rnnseg train --recipe voc_paper --data data/coco --train-split train \\",
            "    --train-encoder --epochs 30 --out runs/coco",
        ),
        read=1121.9 / 4,
    ),
    "voc": Training(
        title="PASCAL VOC 2012",
        recipe="voc_paper",
        images=10_582,
        classes=21,
        epochs=None,
        options=("", "--recompute", "--train-encoder"),
        commands=(
            "rnnseg prepare voc --devkit VOCtrainval_11-May-2012.tar --sbd benchmark.tgz \\",
            "    --out data/voc",
            "rnnseg train --recipe voc_paper --data data/voc \\",
            "    --weights resnet101_coco.weights.h5 --out runs/voc_paper",
            "rnnseg evaluate runs/voc_paper/last.keras --data data/voc --iterations 1-12",
            "python -m experiments.voc_table runs/voc_paper/last.keras --data data/voc \\",
            "    --iterations 1,3,6,12 --out voc_table",
            "python -m experiments.submissions voc runs/voc_paper/last.keras \\",
            f"    --images VOC2012test.tar --iterations 6,12 {_VIEWS} \\",
            "    --out submissions",
        ),
        read=1121.9 / 4,
    ),
    "cityscapes": Training(
        title="Cityscapes",
        recipe="cityscapes_paper",
        images=22_973,
        classes=19,
        epochs=None,
        options=("", "--recompute", "--train-encoder"),
        commands=(
            "rnnseg prepare cityscapes --root downloads --config coarse \\",
            "    --out data/cityscapes_coarse",
            "rnnseg train --recipe cityscapes_paper --data data/cityscapes_coarse \\",
            "    --weights resnet101_coco.weights.h5 --out runs/cityscapes_paper",
            "rnnseg evaluate runs/cityscapes_paper/last.keras --data data/cityscapes_coarse \\",
            f"    --iterations 1,3,6,12 {_VIEWS}",
            "python -m experiments.cityscapes_table runs/cityscapes_paper/last.keras \\",
            "    --data data/cityscapes_coarse --iterations 1,6,12 --out cityscapes_table",
            "python -m experiments.submissions cityscapes runs/cityscapes_paper/last.keras \\",
            "    --images leftImg8bit_trainvaltest.zip --iterations 6,12 \\",
            f"    {_VIEWS} --out submissions",
        ),
        read=70.2 / 4,
    ),
}


@dataclasses.dataclass(frozen=True)
class Device:
    """The assumptions about a GPU.

    Attributes:
      tflops: its peak throughput, in 10^12 operations per second; a multiply-add is two.
      utilization: the share of the peak that training reaches.
      scaling: the share of that which each of several GPUs reaches.
    """

    tflops: float
    utilization: float
    scaling: float

    def multiply_adds(self, count: int) -> float:
        """Returns the multiply-adds per second of a number of GPUs together."""
        share = self.scaling if count > 1 else 1
        return count * share * self.utilization * self.tflops * 1e12 / 2


@click.command(cls=Command)
@click.argument("names", nargs=-1, type=click.Choice(list(TRAININGS)), metavar="[coco|voc|...]")
@click.option("--tflops", type=click.FloatRange(0, min_open=True), default=156.0,
              show_default=True, help="Peak of a GPU; 156: an A100 in TF32.")  # fmt: skip
@click.option("--utilization", type=click.FloatRange(0, 1, min_open=True), default=0.3,
              show_default=True, help="Share of the peak that training reaches.")  # fmt: skip
@click.option("--scaling", type=click.FloatRange(0, 1, min_open=True), default=0.9,
              show_default=True, help="Share of that which each of eight reaches.")  # fmt: skip
@click.option("--precision", default="float32", show_default=True, help="As in rnnseg train.")
@click.option("--measure", is_flag=True, help="Also run real steps on this machine's CPU.")
def main(names, tflops, utilization, scaling, precision, measure):
    """Print the commands of training at the paper's scale, and estimates of its cost."""
    device = Device(tflops, utilization, scaling)
    for name in names or TRAININGS:
        training = TRAININGS[name]
        click.echo(f"{commands(training)}\n\n{needs(training, device, precision)}\n")
        if measure:
            click.echo(f"{measured(training, precision)}\n")


def commands(training: Training) -> str:
    """Returns the commands as a Markdown code block."""
    return "\n".join(f"    {line}" for line in training.commands)


def needs(training: Training, device: Device, precision: str) -> str:
    """Returns the Markdown table of estimates, one row per entry of `options`."""
    from .step_costs import step_costs

    config = training.config("", precision)
    epochs = training.epochs or config.epochs
    steps = epochs * (training.images // config.batch_size)
    shares = tuple(config.batch_size // count for count in _GPUS)
    title = (
        f"{training.title}: {training.images:,} images, {epochs} epochs, {steps:,} steps of "
        f"{config.batch_size} crops of {config.crop[0]}x{config.crop[1]}, {precision}."
    )
    header = ["options", "trainable parameters", "multiply-adds per image", "in all"]
    header += ["one GPU: memory", "time", "eight GPUs: memory of each", "time", "cores that read"]
    rows = []
    for options in training.options:
        costs = step_costs(training.config(options, precision), training.classes, shares)
        total = steps * config.batch_size * costs.multiply_adds
        entries = [
            f"`{options}`" if options else "the recipe's",
            f"{costs.trainable / 1e6:.1f} M",
            f"{costs.multiply_adds / 1e9:.0f} G",
            f"{total / 1e15:.0f} P",
        ]
        for count, share in zip(_GPUS, shares, strict=True):
            seconds = total / device.multiply_adds(count)
            entries += [f"{costs.memory[share] / 1e9:.1f} GB", f"{seconds / 3600:.1f} h"]
        speed = device.multiply_adds(_GPUS[-1]) / costs.multiply_adds
        rows.append([*entries, f"{speed / training.read:.0f}"])
    return f"{title}\n\n{markdown_table(header, rows)}"


def measured(training: Training, precision: str) -> str:
    """Returns the Markdown table of measured steps on this machine, beside the estimates."""
    from .measuring import in_a_process
    from .step_costs import step_costs

    header = ["options", "images", "memory", "estimate", "time", "multiply-adds per image"]
    rows = []
    for options in training.options:
        config = training.config(options, precision)
        costs = step_costs(config, training.classes, _MEASURED)
        profiled = ""
        if not config.recompute:  # its graph has one iteration, see step_costs
            count = in_a_process(profile_step, config, training.classes)
            profiled = f"{count / 1e9:.1f} G"
        for images in _MEASURED:
            memory, seconds = in_a_process(measure_step, config, training.classes, images)
            memory += 4 * costs.parameters  # allocated before the measurement
            entries = [
                f"`{options}`" if options else "the recipe's",
                f"{images}",
                f"{memory / 1e9:.2f} GB",
                f"{costs.memory[images] / 1e9:.2f} GB",
                f"{seconds:.1f} s",
                f"{costs.multiply_adds / 1e9:.1f} G",
                profiled,
            ]
            rows.append(entries)
    title = f"{training.title}, {precision}, on a CPU:"
    return f"{title}\n\n{markdown_table([*header, 'profiler'], rows)}"


def measure_step(config: TrainingConfig, classes: int, images: int) -> tuple[int, float]:
    """Measures the peak memory of training steps, in bytes, and the time of one, in seconds.

    Args:
      config: of the run.
      classes: the number of classes.
      images: the number of images, which are random.
    """
    import keras

    from rnnseg.budgets.timing import take_turns

    from .measuring import peak_memory
    from .training_benchmark import Case, training_step

    keras.config.set_dtype_policy(config.precision)
    case = Case("", config.encoder, config.crop, images, config.hidden_channels, classes,
                config.train_encoder)  # fmt: skip
    step = training_step(
        case, "recompute" if config.recompute else "as built", config.iterations, 0
    )
    memory = peak_memory(lambda: [step() for _ in range(3)])
    return memory, take_turns([step], 3)[0]


def profile_step(config: TrainingConfig, classes: int) -> float:
    """Counts the multiply-adds of a step on one image by TensorFlow's profiler."""
    from . import step_costs

    model = step_costs.build_unrolled(config, classes)
    return step_costs.profiled_multiply_adds(step_costs.trace_step(model, config.crop, 1))


if __name__ == "__main__":
    main()
