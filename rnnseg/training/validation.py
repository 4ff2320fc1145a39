"""Validation during training: the loss and the mean IoU on a split."""

import os

import numpy as np
import tensorflow as tf

from rnnseg.dashboard.recording import Recorder
from rnnseg.data.reading import read_images
from rnnseg.data.sharing import WHOLE, Share
from rnnseg.data.source import IGNORE_LABEL, Source
from rnnseg.evaluation.evaluator import Evaluator
from rnnseg.models.base import SegmentationModel

SCORES = ("val_loss", "val_miou_1_iteration", "val_miou")
"""The scores of a validation: the loss, and mean IoUs in percent."""


class Validation:
    """Scores a model on a split, at every call, and writes its curve for TensorBoard.

    Args:
      model: the compiled model.
      source: the data.
      split: the split to validate on.
      folder: the folder of TensorBoard's run for the curves.
      share: the worker's share of the images; all workers get the scores of all of them.
    """

    def __init__(
        self,
        model: SegmentationModel,
        source: Source,
        split: str,
        folder: str | os.PathLike,
        share: Share = WHOLE,
    ):
        self._source, self._split, self._share = source, split, share
        self._loss = ValidationLoss(model)
        evaluator = Evaluator(model, range(1, model.iterations + 1))
        self._evaluate = Recorder(evaluator, source, split, folder, share)

    def __call__(self, epoch: int) -> dict[str, float]:
        """Returns `SCORES`, the mean IoU in percent after one iteration and after all of them.

        Args:
          epoch: the number of the epoch, from 0.
        """
        loss = self._loss(self._source, self._split, self._share)
        miou = 100 * self._evaluate(epoch, progress=False).miou
        return dict(zip(SCORES, map(float, (loss, miou[0], miou[-1])), strict=True))


class ValidationLoss:
    """The training loss on whole images of a split, with the model in inference mode.

    It is taken over the same iterations as in training, with the same weights, and has the same L2
    penalty, so that it can be compared with the training loss.

    Args:
      model: the compiled model.
    """

    def __init__(self, model: SegmentationModel):
        self._model = model
        self._of_image = tf.function(
            self._loss_of,
            input_signature=[
                tf.TensorSpec((None, None, 3), tf.uint8),
                tf.TensorSpec((None, None), tf.uint8),
            ],
        )

    def __call__(self, source: Source, split: str, share: Share = WHOLE) -> float:
        """Returns the mean over the images that have a labelled pixel; 0 if there are none.

        Args:
          source: the data.
          split: the split.
          share: the worker's share of the images.
        """
        losses = np.zeros((2, source.require_split(split)))  # and whether they count
        own = losses[:, share.index :: share.count]
        for place, (image, label, _) in enumerate(read_images(source, split, share=share)):
            if (label != IGNORE_LABEL).any():
                own[:, place] = float(self._of_image(image, label)), 1
        values, counted = share.total(losses)
        # One after the other, which rounds alike whatever the number of workers.
        return sum(values.tolist()) / max(counted.sum(), 1)

    def _loss_of(self, image, label):
        images, labels = image[tf.newaxis], label[tf.newaxis]
        model = self._model
        if not model.recurrent:
            logits = model(images, training=False)
            return model.compute_loss(images, labels, logits, training=False)
        weighted = [n for n, weight in enumerate(model.iteration_weights) if weight]
        weights = tf.constant([model.iteration_weights[n] for n in weighted])

        def loss_at(canvas):
            logits = model.sized_logits(canvas, images)
            return model.compute_loss(images, labels, logits, training=False)

        # One after the other: logits at the size of the image take more memory than all canvases.
        losses = tf.map_fn(
            loss_at,
            tf.gather(model.unroll(images, model.iterations), weighted),
            parallel_iterations=1,
            fn_output_signature=tf.float32,
        )
        return tf.reduce_sum(weights * losses) / tf.reduce_sum(weights)
