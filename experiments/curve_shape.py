"""Rare classes and increments of the canvas, which explain the shape of a speed-accuracy curve.

    python -m experiments.curve_shape runs/voc --data data/voc --iterations 12

Prints for every number of iterations

- the mIoU of all classes, and of the classes that occur in enough images (if a class occurs in one
  image only, this image can move the mIoU by several points);
- the mean size of the increment that the iteration added to the canvas, 0-1, where 1 is the limit
  of the last layer's output;
- the mean lead of the best class over the second, in logits.
"""

import click
import numpy as np

from rnnseg.cli.base import Command

from . import options
from .runs import load_recurrent_model, open_split
from .tables import markdown_table


@click.command(cls=Command)
@options.model_and_data
@options.iterations(12)
@click.option("--images", default=20, show_default=True,
              help="Smallest number of images in which a class that counts occurs.")  # fmt: skip
def main(model, data, split, iterations, images):
    """Print mIoU of all and of frequent classes, increments and leads, by number of iterations."""
    from rnnseg.data.scan import scan_split
    from rnnseg.evaluation.evaluator import Evaluator

    segmenter = load_recurrent_model(model)
    source = open_split(data, split, segmenter)
    result = Evaluator(segmenter, range(1, iterations + 1))(source, split)
    frequent = scan_split(source, split).label_images[: source.num_classes] >= images
    names = [name for name, often in zip(source.class_names, frequent, strict=True) if often]
    print(f"in {images} or more images: {', '.join(names) or 'no class'}\n")
    increments, leads = canvas_moves(segmenter, source, split, iterations)
    rows = [
        (
            index + 1,
            f"{100 * result.miou[index]:.2f}",
            f"{100 * np.mean(result.class_iou[index, frequent]):.2f}" if names else "",
            f"{increments[index]:.3f}",
            f"{leads[index]:.2f}",
        )
        for index in range(iterations)
    ]
    print(markdown_table(["iterations", "mIoU %", "of these classes %", "increment", "lead"], rows))


def canvas_moves(
    model, source, split: str, iterations: int, every: int = 10
) -> tuple[np.ndarray, np.ndarray]:
    """Measures the increments of the canvas and the lead of its best class.

    Args:
      model: a `RecurrentSegmenter`.
      source: the data.
      split: the split.
      iterations: the number of iterations.
      every: the step from one image that counts to the next.

    Returns:
      The mean absolute increment and the mean lead, in logits, `(iterations,)` each.
    """
    from rnnseg.data.pipeline import evaluation_images

    increments, leads = [], []
    images = evaluation_images(source, split).shard(every, 0)
    for image, _, _ in images.as_numpy_iterator():
        canvases = model.compiled_stages.unroll(image[np.newaxis], iterations).numpy()
        steps = np.diff(canvases, axis=0, prepend=np.zeros_like(canvases[:1]))
        increments.append(np.abs(steps).mean(axis=(1, 2, 3, 4)))
        best = np.sort(canvases, axis=-1)
        leads.append((best[..., -1] - best[..., -2]).mean(axis=(1, 2, 3)))
    return np.mean(increments, axis=0), np.mean(leads, axis=0)


if __name__ == "__main__":
    main()
