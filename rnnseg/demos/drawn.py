"""The demo of training: a small model learns drawn shapes, and is evaluated and shown."""

import itertools
import os
import pathlib
import shlex

from PIL import Image

from rnnseg import visualize
from rnnseg.data import open_source
from rnnseg.data.reading import read_images
from rnnseg.demos.folder import demo_folder
from rnnseg.evaluation import report
from rnnseg.evaluation.evaluator import Evaluator
from rnnseg.files import atomic_path
from rnnseg.inference.image_files import iteration_titles
from rnnseg.inference.predictor import Predictor
from rnnseg.training.config import TrainingConfig
from rnnseg.training.loop import train

# The class of a shape is visible in its outline alone, many pixels away from its middle. The 3x3
# kernels of the stack carry this information by one canvas pixel per iteration: more iterations see
# further. A share of the loss at the first iteration shortens the path of the gradient, so that few
# epochs suffice.
CONFIG = TrainingConfig(
    data="shapes",
    encoder="small_cnn",
    encoder_weights=None,
    output_stride=8,
    hidden_channels=(32, 16),
    kernel_size=3,
    iterations=6,
    iteration_weights=(1.0, 0.0, 0.0, 0.0, 0.0, 3.0),
    freeze_batch_norm=False,
    l2=0.0,
    label_smoothing=0.1,
    crop=(96, 96),
    scale=(0.8, 1.25),
    batch_size=8,
    epochs=9,
    optimizer="adamw",
    learning_rate=1e-3,
    validate_every=3,
    seed=1,
)
# The number of an image in the validation split that has several shapes, some of them covered.
_IMAGE = 3


def run(out: str | os.PathLike, config: TrainingConfig = CONFIG) -> None:
    """Trains and scores a small model on drawn shapes, and prints the next commands.

    Args:
      out: the folder to write to; the files of an earlier demo in it are replaced, and others stay.
      config: the training run.

    Raises:
      UserError: `out` holds other files and no demo, or another process writes to it.
    """
    with demo_folder(out) as folder:
        _run(folder, config)


def _run(out: pathlib.Path, config: TrainingConfig) -> None:
    """Trains, scores and draws, in a folder that no other process writes to."""
    folder = train(config, out / "run").folder
    predictor = Predictor.load(folder)
    model = predictor.model
    source = open_source(config.data)
    result = Evaluator(model, range(1, 2 * model.iterations + 1))(source, config.val_split)
    print("\n" + report.table(result) + "\n")
    report.save_json(out / "scores.json", result.to_json())
    report.save_curve(out / "curve.png", "demo", result, model.iterations)
    images = read_images(source, config.val_split)
    image, label, _ = next(itertools.islice(images, _IMAGE, None))
    with atomic_path(out / "image.png") as path:
        Image.fromarray(image).save(path)
    maps = list(predictor.every_iteration(image, model.iterations))
    visualize.save_strip(
        out / "iterations.png",
        image,
        maps,
        source.class_colors,
        source.class_names,
        iteration_titles(predictor, image.shape[:2], model.iterations),
        truth=label,
    )
    print(
        f"wrote {out / 'curve.png'}       mIoU against cost, for 1 to {result.iterations[-1]} "
        "iterations\n"
        f"wrote {out / 'iterations.png'}  one image after every iteration\n"
        f"wrote {out / 'image.png'}     that image, for: rnnseg segment "
        f"{shlex.join(map(str, (folder, out / 'image.png')))} --out segmented\n"
        f"wrote {folder / 'logs'}        for: tensorboard --logdir "
        f"{shlex.quote(str(folder / 'logs'))}\n\n"
        "next, with your own images and masks:\n"
        "  rnnseg prepare folder --images IMAGES --masks MASKS --val-images IMAGES "
        "--val-masks MASKS --classes classes.txt --out data/mine\n"
        "  rnnseg inspect data/mine\n"
        "  rnnseg train --data data/mine --out runs/mine\n"
        "  rnnseg evaluate runs/mine --data data/mine\n"
        "  rnnseg segment runs/mine IMAGE --every-iteration --out segmented"
    )
