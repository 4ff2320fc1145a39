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


@click.command(cls=Command)
@options.model_and_data
@options.iterations(12)
@click.option(
    "--images", default=20, show_default=True, help="Images from which on a class is frequent."
)
def main(model, data, split, iterations, images):
    """Print mIoU of all and of frequent classes, increments and leads, by number of iterations."""
    from rnnseg.data import open_source
    from rnnseg.data.scan import scan_split
    from rnnseg.evaluation.evaluator import Evaluator
    from rnnseg.models.loading import load_model

    source = open_source(data)
    segmenter = load_model(model)
    result = Evaluator(segmenter, range(1, iterations + 1))(source, split)
    scan = scan_split(source, split)
    frequent = scan.label_images[: source.num_classes] >= images
    increments, leads = _canvas_moves(segmenter, source, split, iterations)
    named = [name for name, often in zip(source.class_names, frequent, strict=True) if often]
    print(f"in {images} or more images: {', '.join(named) or 'no class'}\n")
    print("iterations  mIoU %  mIoU % of these  increment  lead")
    for index in range(iterations):
        of_frequent = 100 * np.mean(result.class_iou[index, frequent]) if named else np.nan
        print(
            f"{index + 1:10d}  {100 * result.miou[index]:6.2f}  {of_frequent:15.2f}  "
            f"{increments[index]:9.3f}  {leads[index]:4.2f}"
        )


def _canvas_moves(model, source, split, iterations, every=10):
    """Returns the mean increment and the mean lead of every iteration, over every tenth image."""
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
