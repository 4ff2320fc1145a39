"""The `rnnseg` command. Everything heavy is imported where it is used, so that help is quick."""

import dataclasses
import json
import os
import pathlib
import shlex

import click

from rnnseg.budgets.budget import Budget
from rnnseg.cli.commands import MOST_ITERATIONS, Group, IterationNumbers, Numbers
from rnnseg.errors import UserError
from rnnseg.training import config as configuration


class _Sizes(click.ParamType):
    """Sizes of images, separated by commas."""

    name = "HEIGHTxWIDTH,..."

    def convert(self, value, param, ctx):
        return tuple(_SIZE.convert(each, param, ctx) for each in str(value).split(","))


class _SizeOrAny(click.ParamType):
    """One size of images, or none."""

    name = "HEIGHTxWIDTH|any"

    def convert(self, value, param, ctx):
        return value if value == "any" else _SIZE.convert(value, param, ctx)


_DATA_HELP = (
    "Folder that a data_prep command built or of Model Garden's or DeepLab's records, tfds:NAME, a "
    '.json file that describes one of them, or "shapes".'
)
_SIZE = Numbers("HEIGHTxWIDTH", int, "x", 2, least=1, most=2**15)
_RANGE = Numbers("LEAST-MOST", float, "-", 2)
_WIDTHS = Numbers("N,N,...", int, ",")
_WEIGHTS = Numbers("W,W,...", float, ",")

# TrainingConfig field, option, type, what it is; the defaults are the fields' own.
_TRAINING_OPTIONS = (
    ("data", "--data", str, _DATA_HELP),
    ("train_split", "--train-split", str, "Split to train on."),
    ("val_split", "--val-split", str, "Split to validate on."),
    ("model", "--model", str, "recurrent, or to compare with: deeplabv3 or pspnet."),
    ("encoder", "--encoder", str, "Encoder, such as mobilenet_v2_0.5 or resnet101."),
    ("encoder_weights", "--weights", str, 'Encoder weights: "imagenet", a file, or "none".'),
    ("encoder_layer", "--encoder-layer", str, "Layer whose output are the features."),
    ("output_stride", "--output-stride", int, "Pixels of the image a pixel of the features."),
    ("hidden_channels", "--hidden", _WIDTHS, "Widths of the ConvLSTM layers before the last."),
    ("kernel_size", "--kernel-size", int, "Side of the ConvLSTM kernels."),
    ("dilation_rate", "--dilation-rate", int, "Spacing of the ConvLSTM kernels' taps."),
    ("context_channels", "--context-channels", int, "Width of context branches; 0: no context."),
    ("iterations", "--iterations", int, "Iterations in training."),
    ("iteration_weights", "--iteration-weights", _WEIGHTS, "Loss weight of every iteration."),
    ("learned_start", "--learned-start/--zero-start", bool, "Train the initial canvas and state."),
    ("train_encoder", "--train-encoder/--freeze-encoder", bool, "Train the encoder too."),
    ("freeze_batch_norm", "--freeze-batch-norm/--train-batch-norm", bool, "Keep batch norm fixed."),
    ("l2", "--l2", float, "L2 penalty on convolution kernels."),
    ("recompute", "--recompute/--keep-activations", bool, "Iterate twice a step in less memory."),
    ("sampled_patches", "--sample-patches", int, "Train on so many cells of an image, not all of it."),
    ("label_smoothing", "--label-smoothing", float, "Share of the target on all classes alike."),
    ("precision", "--precision", str, "float32, mixed_bfloat16 or mixed_float16."),
    ("crop", "--crop", _SIZE, "Size of training images."),
    ("scale", "--scale", _RANGE, "Random scaling."),
    ("flip", "--flip/--no-flip", bool, "Mirror half of the training images."),
    ("batch_size", "--batch", int, "Images a step."),
    ("epochs", "--epochs", int, "Passes through the training data."),
    ("optimizer", "--optimizer", str, "sgd or adamw."),
    ("learning_rate", "--learning-rate", float, "At the start; falls to zero."),
    ("validate_every", "--validate-every", int, "Epochs between validations."),
    ("seed", "--seed", int, "Makes runs repeatable."),
)


def _training_options(command):
    defaults = {
        field.name: field.default for field in dataclasses.fields(configuration.TrainingConfig)
    }
    for field, option, kind, help_text in reversed(_TRAINING_OPTIONS):
        default = defaults[field]
        if default is not dataclasses.MISSING and default is not None:
            shown = {"freeze_batch_norm": "freeze"}.get(field, default)
            if isinstance(default, tuple):
                shown = getattr(kind, "separator", ",").join(f"{each:g}" for each in default)
            elif isinstance(default, bool):
                shown = option.split("/")[0 if default else 1].lstrip("-")
            help_text += f"  [default: {shown}]"
        command = click.option(option, field, type=kind, default=None, help=help_text)(command)
    return command


def _budget_options(command):
    """The options that ask for a budget, of which one at most is given."""
    for option, help_text in (
        ("--milliseconds", "Time that an image may take."),
        ("--gmacs", "Multiply-adds that an image may take, in 10^9."),
    ):
        command = click.option(option, type=float, help=help_text)(command)
    return command


def _budget(**options) -> Budget | None:
    """The budget that such options ask for; None: none of them is given."""
    given = {name: value for name, value in options.items() if value is not None}
    return Budget(**given) if given else None


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rnnseg")
def main():
    """Semantic segmentation for any computational budget.

    Train once, then run as many iterations as the moment allows: each one adds to a canvas of class
    logits, and the answer can be read after any of them.
    """
    # TensorFlow's notes on its own build; what goes wrong comes as exceptions.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@main.command()
@click.option("--out", required=True, type=click.Path(), help="Folder of the run.")
@click.option("--recipe", help="Defaults of a data set: camvid, voc, or a Python file.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out.")
@_training_options
def train(out, recipe, resume, **options):
    r"""Train a segmenter.

    \b
    rnnseg train --recipe camvid --data data/camvid --out runs/camvid
    rnnseg train --recipe camvid --data data/camvid --out runs/camvid --resume
    """
    values = configuration.load_recipe(recipe) if recipe else {}
    values |= {field: value for field, value in options.items() if value is not None}
    if "data" not in values:
        raise UserError(
            "--data is missing: give a folder that a data_prep command built, tfds:NAME, or "
            '"shapes"'
        )
    if values.get("encoder_weights") == "none":
        values["encoder_weights"] = None
    config = configuration.TrainingConfig(**values)

    from rnnseg.training import loop

    run = loop.train(config, out, resume)
    following = ["rnnseg", "evaluate", run.folder, "--data", config.data]
    click.echo(f"\nnext: {shlex.join([*map(str, following), '--split', config.val_split])}")


@main.command()
@click.argument("model", metavar="RUN_OR_MODEL")
@click.option("--data", required=True, help=_DATA_HELP)
@click.option("--split", default="val", show_default=True, help="Split to evaluate on.")
@click.option(
    "--iterations", type=IterationNumbers(),
    help="Numbers of iterations, such as 6, 1-12 or 1,2,6.  [default: 1-12; 1 if feed-forward]",
)  # fmt: skip
@click.option("--output-stride", type=int, help="Evaluate at another stride than the trained one.")
@click.option("--scales", type=Numbers("S,S,...", float, ","), default="1", show_default=True,
              help="Average the logits over several scales, such as 0.5,1,1.5.")  # fmt: skip
@click.option("--flip", is_flag=True, help="Average over mirrored images, too.")
@click.option(
    "--json", "json_file", type=click.Path(), help="File for all scores.  [default: "
    "scores_SPLIT.json beside the model]"
)  # fmt: skip
@click.option(
    "--curve", type=click.Path(), help="Image of the curve.  [default: curve_SPLIT.png beside "
    "the model]"
)  # fmt: skip
@click.option("--tensorboard", metavar="LOGDIR", type=click.Path(file_okay=False),
              help="Also write event files to this folder, in LOGDIR/RUN/SPLIT.")  # fmt: skip
def evaluate(model, data, split, iterations, output_stride, scales, flip, json_file, curve,
             tensorboard):  # fmt: skip
    r"""Score a model at many numbers of iterations, in one pass.

    \b
    rnnseg evaluate runs/camvid --data data/camvid --split val --iterations 1-12
    rnnseg evaluate runs/camvid --data data/camvid --tensorboard evaluations
    rnnseg evaluate runs/camvid --data data/camvid --scales 0.5,0.75,1,1.25,1.5,1.75 --flip
    """
    from rnnseg import files
    from rnnseg.data import open_source
    from rnnseg.evaluation import report
    from rnnseg.evaluation.evaluator import Evaluator
    from rnnseg.models.loading import load_model

    source = open_source(data)
    source.require_split(split)
    segmenter = load_model(model)
    if output_stride:
        segmenter = segmenter.at_output_stride(output_stride)
    iterations = iterations or (range(1, 13) if segmenter.recurrent else (1,))
    # Another stride or several views are another point of operation, and do not replace the
    # model's own scores.
    name = f"{split}_stride{output_stride}" if output_stride else split
    name += "" if scales == (1,) else f"_scales{'-'.join(f'{scale:g}' for scale in scales)}"
    name += "_flip" if flip else ""
    curve = curve or files.beside(model, f"curve_{name}.png")
    json_file = json_file or files.beside(model, f"scores_{name}.json")
    files.check_writable(curve, ".png")
    files.check_writable(json_file, ".json")
    evaluator = Evaluator(segmenter, iterations, scales, flip)
    if tensorboard:
        from rnnseg import dashboard

        folder = dashboard.run_folder(tensorboard, model, name)
        files.check_writable(os.path.join(folder, "events"))
        result = dashboard.Recorder(evaluator, source, split, folder)()
    else:
        result = evaluator(source, split)
    click.echo(report.table(result))
    report.save_scores(json_file, result)
    click.echo(f"wrote {json_file}")
    report.save_curve(curve, pathlib.Path(model).resolve().name, result, segmenter.iterations)
    click.echo(f"wrote {curve}")
    if tensorboard:
        click.echo(f"wrote {folder} for: tensorboard --logdir {shlex.quote(tensorboard)}")


@main.command()
@click.argument("model", metavar="RUN_OR_MODEL")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.option(
    "--iterations",
    type=click.IntRange(1, MOST_ITERATIONS),
    help="How many.  [default: as in training]",
)
@_budget_options
@click.option("--every-iteration", is_flag=True, help="Also write a strip of all iterations.")
@click.option(
    "--stop-when-settled", is_flag=True, help="Spare iterations that would change next to nothing."
)
@click.option("--overwrite", is_flag=True, help="Replace files that are there already.")
@click.option("--out", required=True, type=click.Path(file_okay=False), help="Folder to write to.")
def segment(model, images, iterations, gmacs, milliseconds, every_iteration, stop_when_settled,
            overwrite, out):  # fmt: skip
    r"""Segment images, folders of images, or patterns.

    \b
    rnnseg segment runs/camvid street.jpg --iterations 6 --out segmented
    rnnseg segment runs/camvid street.jpg --milliseconds 50 --out segmented
    rnnseg segment runs/camvid street.jpg --iterations 12 --stop-when-settled --out segmented
    rnnseg segment runs/camvid 'photos/*.jpg' --every-iteration --out segmented
    """
    if every_iteration and stop_when_settled:
        raise UserError(
            "--every-iteration shows them all, --stop-when-settled spares some: give one of them"
        )
    budget = _budget(iterations=iterations, gmacs=gmacs, milliseconds=milliseconds)

    from rnnseg.data.images import find_images
    from rnnseg.inference.image_files import segment_files
    from rnnseg.models.loading import load_model

    files = find_images(images)
    segmenter = load_model(model)
    done = segment_files(
        segmenter, files, out, budget, every_iteration, overwrite, stop_when_settled
    )
    numbers = sorted({min(done.iterations), max(done.iterations)})
    click.echo(
        f"wrote {len(done.files)} files to {out}, such as {done.files[-1].name}; iterations: "
        + ("at most " if stop_when_settled else "")
        + " to ".join(map(str, numbers))
    )


@main.command()
@click.argument("data")
@click.option("--split", "splits", multiple=True, help="Look at this split only; may be repeated.")
@click.option("--sheet", type=click.Path(), default="inspect.png", show_default=True,
              help="Image of overlays to write.")  # fmt: skip
def inspect(data, splits, sheet):
    r"""Look through a data set before training: sizes, labels, and what is wrong with them.

    \b
    rnnseg inspect data/camvid
    """
    from rnnseg.data import inspection, open_source

    inspection.inspect(open_source(data), splits, sheet)


@main.command()
@click.option("--model", "kind", type=click.Choice(["recurrent", "deeplabv3", "pspnet"]),
              default="recurrent", show_default=True)  # fmt: skip
@click.option("--encoder", required=True, help="Encoder, such as mobilenet_v2_0.5 or resnet101.")
@click.option("--size", type=_SIZE, default="513x513", show_default=True,
              help="The image's, HEIGHTxWIDTH, or one number for both.")  # fmt: skip
@click.option("--classes", type=click.IntRange(min=1), default=21, show_default=True,
              help="How many.")  # fmt: skip
@click.option("--output-stride", type=int, default=16, show_default=True, help="8, 16 or 32.")
@click.option(
    "--context-channels",
    type=click.IntRange(min=0),
    help="Width of context branches; 0: no context.  [default: 0]",
)
@click.option(
    "--hidden-channels",
    type=_WIDTHS,
    help="Widths of the ConvLSTM layers before the last.  [default: 512,256]",
)
@click.option(
    "--iterations",
    type=IterationNumbers(),
    help="Numbers of iterations, such as 6, 1-12 or 1,2,6.  [default: 1-6]",
)
@click.option("--scales", type=Numbers("S,S,...", float, ","), default=None,
              help="Add up the predictions at several scales, such as 0.5,1,1.5.")  # fmt: skip
@click.option("--flip", is_flag=True, help="Add up those of mirrored images, too.")
@click.option("--as-published", is_flag=True,
              help="Count as the paper: nothing is computed once for all iterations.")  # fmt: skip
@click.option("--json", "json_file", type=click.Path(), is_flag=False, flag_value="-",
              help="Write all numbers to this file; without its name, print them.")  # fmt: skip
def cost(kind, encoder, size, classes, output_stride, context_channels, hidden_channels, iterations,
         scales, flip, as_published, json_file):  # fmt: skip
    r"""Count multiply-adds, parameters and memory of a prediction, by stage.

    Memory is the most that the tensors of a stage take at the same time, for one image in the
    precision of training, without weights.

    \b
    rnnseg cost --encoder resnet101 --size 513 --classes 21 --iterations 1-6 --as-published
    """
    from rnnseg import files
    from rnnseg.budgets import costs as budgets
    from rnnseg.evaluation import report
    from rnnseg.evaluation.multi_scale import multi_scale_costs
    from rnnseg.models import registry

    if json_file not in (None, "-"):
        files.check_writable(json_file)
    options = dict(encoder=encoder, encoder_weights=None, output_stride=output_stride)
    if kind == "recurrent":
        options["hidden_channels"] = hidden_channels or (512, 256)
        options["context_channels"] = context_channels or 0
        iterations = iterations or range(1, 7)
    elif hidden_channels or iterations or context_channels is not None:
        raise UserError(
            f"--hidden-channels, --context-channels and --iterations have no meaning for {kind}"
        )
    model = registry.MODELS[kind](classes, **options)
    several = scales is not None or flip
    costs = multi_scale_costs(model, *size, scales or (1.0,), flip)
    costs = costs.as_published() if as_published else costs
    # Merged stages and several images have no parameters and memory of their own.
    stages = None if several or as_published else budgets.stages(model, *size)
    content = report.cost_json(costs, stages, iterations or (1,))
    if json_file == "-":
        click.echo(json.dumps(content, indent=2))
        return
    click.echo(report.cost_table(costs, stages, iterations or (1,)))
    if json_file:
        report.save_json(json_file, content)
        click.echo(f"wrote {json_file}")


@main.command()
@click.argument("model", metavar="RUN_OR_MODEL")
@click.option("--size", "sizes", type=_Sizes(), required=True,
              help="The images', HEIGHTxWIDTH; several separated by commas.")  # fmt: skip
@click.option("--repeats", type=click.IntRange(min=1), default=11, show_default=True,
              help="How often everything is timed.")  # fmt: skip
@click.option("--save", is_flag=True, help="Keep the times beside the model, for budgets.")
def benchmark(model, sizes, repeats, save):
    r"""Measure what predictions take on this machine.

    Memory is counted, not measured: the most that the tensors of a stage, or of a whole prediction,
    take at the same time, without weights and without what TensorFlow needs for itself.

    \b
    rnnseg benchmark runs/camvid --size 360x480 --save
    """
    from rnnseg import files
    from rnnseg.budgets import benchmarking, profiles
    from rnnseg.budgets import costs as budgets
    from rnnseg.evaluation import report
    from rnnseg.models.loading import load_model

    path = profiles.profile_path(model)
    segmenter = load_model(model)
    if save:
        files.check_writable(path)
    profile = benchmarking.measure(segmenter, model, sizes, repeats)
    costs = [segmenter.predictor.costs(each.height, each.width) for each in profile.sizes]
    stages = [budgets.stages(segmenter, each.height, each.width) for each in profile.sizes]
    click.echo(report.profile_table(profile, costs, stages))
    if save:
        profile.save()
        click.echo(f"wrote {path}")


@main.command()
@click.argument("model", metavar="RUN_OR_MODEL")
@click.option("--out", required=True, type=click.Path(file_okay=False), help="Folder to write to.")
@click.option("--size", type=_SizeOrAny(), help="The LiteRT files' images.  [default: the run's "
              "crop, else 513x513]")  # fmt: skip
@click.option("--quantize", default="", metavar="KIND,...",
              help="float16, dynamic or int8, beside float32.")  # fmt: skip
@click.option("--data", help="Labelled data to calibrate and compare on.  [default: the run's]")
@click.option("--split", default="val", show_default=True, help="Split to compare on.")
@click.option("--images", multiple=True, metavar="FILE_OR_FOLDER",
              help="Images without labels, in place of data; may be repeated.")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), default=32, show_default=True,
              help="Images to calibrate on at most, and as many to compare on.")  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace an earlier export.")
def export(model, out, size, quantize, data, split, images, limit, overwrite):
    r"""Write a SavedModel and LiteRT files for devices, and compare them with the model.

    \b
    rnnseg export runs/camvid --out exported/camvid --quantize float16,int8
    rnnseg export runs/voc/best.keras --size 513x513 --images photos --out exported/voc
    """
    from rnnseg import export_model
    from rnnseg.models.loading import load_model

    kinds = [kind.strip() for kind in quantize.split(",") if kind.strip()]
    result = export_model(
        load_model(model), out, size, kinds, data, split, images, limit, overwrite
    )
    click.echo(result.table())
    for line in result.missed():
        click.echo(f"warning: {line}", err=True)
    click.echo(f"wrote {out}")


@main.command()
@click.argument("model", metavar="MODEL_OR_TFLITE")
@click.argument("source", metavar="INPUT")
@click.argument("out", metavar="OUTPUT")
@click.option("--iterations", type=click.IntRange(1, MOST_ITERATIONS), default=2, show_default=True,
              help="For a frame that goes on from another.")  # fmt: skip
@click.option("--first-iterations", type=click.IntRange(1, MOST_ITERATIONS),
              help="For the first frame and after a cut.  [default: as in training]")  # fmt: skip
@click.option("--view", type=click.Choice(["overlay", "side", "classes"]),
              help="What is written.  [default: overlay; classes in a folder]")  # fmt: skip
@click.option("--decay", type=click.FloatRange(0, 1), default=0.5, show_default=True,
              help="Share of the old canvas that is forgotten from frame to frame.")  # fmt: skip
@click.option("--motion/--no-motion", default=True, show_default=True,
              help="Move the old canvas along by optical flow.")  # fmt: skip
@click.option("--blank", is_flag=True, help="Segment every frame by itself.")
@click.option("--cut-threshold", type=click.FloatRange(0, 1), default=0.3, show_default=True,
              help="Share of pixels that change colour where a scene begins.")  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace a video that is there already.")
def video(model, source, out, iterations, first_iterations, view, decay, motion, blank,
          cut_threshold, overwrite):  # fmt: skip
    r"""Segment a video, each frame going on from the one before.

    INPUT is a video file, a folder of images (by name, numbers by value, 25 a second), or a
    webcam's number; OUTPUT is an .mp4, or a folder for a PNG a frame. There, classes are palette
    PNGs: the index of a pixel is its class. Ctrl-C or SIGTERM ends it and keeps what is done.

    \b
    rnnseg video runs/camvid drive.mp4 segmented.mp4
    rnnseg video exported/anytime.tflite drive.mp4 segmented.mp4 --view side
    rnnseg video runs/camvid 0 webcam.mp4 --iterations 1
    """
    if blank:
        # Every frame is a first one.
        first_iterations, decay = iterations, 1.0

    from rnnseg import VideoSegmenter
    from rnnseg.video import libraries

    with libraries():
        from rnnseg.video import outputs, segmenting, sources

    with sources.open_frames(source) as frames:
        segmenter = VideoSegmenter(
            _open_model(model), iterations, first_iterations, cut_threshold, decay, motion
        )
        with outputs.open_output(out, frames, view, overwrite) as output:
            done = segmenting.segment_video(segmenter, frames, output)
    for problem in frames.problems:
        click.echo(f"warning: {problem}", err=True)
    cuts = f"; cuts at {', '.join(map(str, done.cuts))}" if done.cuts else ""
    click.echo(
        f"wrote {out}: {done.frames} frames, {done.rate:.1f} a second, of which segmenting took "
        f"{done.milliseconds:.1f} ms each{cuts}"
    )
    if done.stopped and not frames.endless:
        raise click.Abort


def _open_model(path: str):
    """A segmenter from a run or a `.keras` file, or a LiteRT file's."""
    if path.endswith(".tflite"):
        from rnnseg.runtime.segmenter import Segmenter

        return Segmenter(path, threads=os.cpu_count())
    from rnnseg.models.loading import load_model

    return load_model(path)


@main.command()
@click.argument("models", metavar="RUN_OR_MODEL...", nargs=-1, required=True)
@click.option("--split", default="val", show_default=True, help="Split of the scores.")
@_budget_options
def plan(registry, split, gmacs, milliseconds):
    r"""Choose the best of several models, and its iterations, for a budget.

    Reads what `rnnseg evaluate` wrote beside the models, or any of its files of scores (.json), and
    the times that `rnnseg benchmark --save` kept.

    \b
    rnnseg plan runs/small runs/large --milliseconds 50
    """
    from rnnseg.budgets.planning import make_plan
    from rnnseg.evaluation import report

    budget = _budget(gmacs=gmacs, milliseconds=milliseconds)
    if budget is None:
        raise UserError("the budget is missing: give --gmacs or --milliseconds")
    click.echo(report.plan_table(make_plan(registry, split, budget)))


@main.command()
@click.option("--out", type=click.Path(), default="runs/demo", show_default=True,
              help="Folder to write to; an earlier demo there is replaced.")  # fmt: skip
def demo(out):
    """Train, evaluate and look at a small segmenter on drawn shapes, in a few minutes."""
    from rnnseg.cli import demo as demonstration

    demonstration.run(out)
