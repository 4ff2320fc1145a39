"""Segments a shard of images with a model that the threads of a worker share."""

import dataclasses
import io
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from apache_beam.ml.inference.base import ModelHandler, PredictionResult

from rnnseg import visualize
from rnnseg.bulk import storage
from rnnseg.bulk.job import Job, Shard, Tally, stem
from rnnseg.data.images import open_image, to_rgb, turn_upright
from rnnseg.data.metadata import png_bits
from rnnseg.errors import UserError
from rnnseg.evaluation import metrics
from rnnseg.inference.opening import open_predictor
from rnnseg.inference.predictor import Predictor


@dataclasses.dataclass
class SharedPredictor:
    """A predictor, and the lock of those who use it: LiteRT files take one call at a time."""

    predictor: Predictor
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)


class ShardHandler(ModelHandler[Shard, PredictionResult, SharedPredictor]):
    """Beam's view of a model: it is loaded once in each process, and segments shards.

    A shard is one example to RunInference, so that its class maps are written as soon as they are
    computed: images that are grouped into shards afterwards would all wait for the last one. Its
    images are segmented one by one, as `rnnseg segment` does, which gives the same class maps to
    the last bit.

    Args:
      job: the job; its images are not needed.
    """

    def __init__(self, job: Job):
        super().__init__(min_batch_size=1, max_batch_size=1)
        self._job = job

    def load_model(self) -> SharedPredictor:
        """Loads the model, once in a process."""
        job = self._job
        return SharedPredictor(open_predictor(job.model, job.tile, job.max_size))

    def run_inference(
        self, batch: Sequence[Shard], model: SharedPredictor, inference_args: Any = None
    ) -> Iterator[PredictionResult]:
        """Segments shards.

        Args:
          batch: the shards.
          model: from `load_model`.
          inference_args: none.

        Yields:
          For each shard a result with `SegmentedShard`.
        """
        for shard in batch:
            yield PredictionResult(shard, self._segment(shard, model))

    def _segment(self, shard: Shard, model: SharedPredictor) -> "SegmentedShard":
        found = SegmentedShard([], [], 0, None)
        classes = model.predictor.model.num_classes
        if self._job.labels is not None:
            found.confusion = np.zeros((classes, classes), np.int64)
        labels = self._job.labels
        for path in shard.images:
            try:
                class_map = self._class_map(path, model)
            except UserError as error:
                found.faults.append(str(error))
                continue
            encoded = _encode(class_map, model.predictor.model.colors)
            found.maps.append((path, class_map.shape, encoded))
            if found.confusion is None or labels is None:
                continue
            try:
                label_path = storage.join(labels, f"{stem(path)}.png")
                label = read_label(label_path, class_map.shape)
                try:
                    found.confusion += metrics.confusion_matrix(label, class_map, classes)
                except UserError as error:
                    raise UserError(f"{label_path}: {error}") from error
                found.scored += 1
            except UserError as error:
                found.faults.append(str(error))
        return found

    def _class_map(self, path: str, shared: SharedPredictor) -> np.ndarray:
        image = read_image(path)
        with shared.lock:
            try:
                shared.predictor.model.check_image(*image.shape[:2])
                return shared.predictor(
                    image,
                    self._job.budget,
                    stop_when_settled=self._job.stop_when_settled,
                    dtype=np.uint8,
                )
            except UserError as error:
                raise UserError(f"{path}: {error}") from error


@dataclasses.dataclass
class SegmentedShard:
    """The class maps of a shard, before they are written.

    Attributes:
      maps: the path, the (height, width) and the class map, a PNG file, of every image.
      faults: as in `rnnseg.bulk.job.Tally`.
      scored: likewise.
      confusion: likewise, int64 `(classes, classes)`.
    """

    maps: list[tuple[str, tuple[int, int], bytes]]
    faults: list[str]
    scored: int
    confusion: np.ndarray | None


def write_shard(result: PredictionResult, job: Job) -> Tally:
    """Writes the class maps of a shard, and at last the file that says that it is done.

    Args:
      result: of `ShardHandler`.
      job: the job; its images are not needed.

    Returns:
      What was found.
    """
    shard: Any = result.example
    found: Any = result.inference
    if job.form == "png":
        for path, _, encoded in found.maps:
            storage.write(storage.join(job.out, f"{stem(path)}_classes.png"), encoded)
    else:
        name = f"class_maps-{shard.name}.tfrecord"
        storage.write(storage.join(job.out, name), _records(found.maps))
    confusion = found.confusion
    if confusion is not None:
        confusion = tuple(map(tuple, confusion.tolist()))
    tally = Tally(len(found.maps), found.scored, tuple(found.faults), confusion)
    storage.write(job.manifest(shard), tally.to_json())
    return tally


def read_image(path: str) -> np.ndarray:
    """Reads an image, uint8 RGB `(h, w, 3)`, as `rnnseg.data.images.read_image` does."""
    data = storage.read(path)
    image, orientation = open_image(data, path)
    return turn_upright(to_rgb(image, data, path), orientation)


def read_label(path: str, size: tuple[int, int]) -> np.ndarray:
    """Reads a label.

    Args:
      path: a PNG of class indices, grey or palette.
      size: the (height, width) of its image.

    Returns:
      uint8 `(h, w)`.

    Raises:
      UserError: it cannot be read, or is no such PNG.
    """
    data = storage.read(path)
    image = open_image(data, path)[0]
    if (
        image.format != "PNG"
        or image.mode not in ("L", "P")
        or (image.mode == "L" and png_bits(data) != 8)
    ):
        raise UserError(
            f"{path}: a {image.format} of mode {image.mode}, expected a PNG of class indices, of 8 "
            "bits or with a palette"
        )
    label = np.asarray(image)
    if label.shape != tuple(size):
        raise UserError(
            f"{path}: a label of {label.shape[0]}x{label.shape[1]} pixels, expected "
            f"{size[0]}x{size[1]}, the size of its image"
        )
    return label


def _encode(class_map: np.ndarray, colors) -> bytes:
    """Returns the file that `rnnseg segment` writes."""
    buffer = io.BytesIO()
    visualize.class_map_image(class_map, colors).save(buffer, "PNG")
    return buffer.getvalue()


def _records(maps) -> bytes:
    """Returns a TFRecord file with the keys of TensorFlow's Model Garden."""

    def feature(value):
        if isinstance(value, int):
            return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "shard.tfrecord")
        with tf.io.TFRecordWriter(path) as writer:
            for name, (height, width), encoded in maps:
                values = {
                    "image/filename": name.encode(errors="surrogateescape"),
                    "image/height": height,
                    "image/width": width,
                    "image/segmentation/class/encoded": encoded,
                    "image/segmentation/class/format": b"png",
                }
                features = {key: feature(value) for key, value in values.items()}
                example = tf.train.Example(features=tf.train.Features(feature=features))
                writer.write(example.SerializeToString(deterministic=True))
        with open(path, "rb") as file:
            return file.read()
