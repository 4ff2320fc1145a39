"""The pipeline of a bulk prediction."""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import apache_beam as beam
import numpy as np
from apache_beam.ml.inference.base import RunInference

from rnnseg import schemas
from rnnseg.bulk import storage
from rnnseg.bulk.beam import read_options, user_error_of
from rnnseg.bulk.job import Job, Shard, Tally, begin, check_names, read_tally
from rnnseg.bulk.segmenting import ShardHandler, write_shard
from rnnseg.errors import UserError
from rnnseg.evaluation import metrics
from rnnseg.inference.opening import open_predictor
from rnnseg.locks import hold_folder
from rnnseg.models.base import SegmentationModel
from rnnseg.runtime.file_model import FileModel

SUMMARY = "summary.json"
FAULTS = "damaged.txt"
_AGAIN = "remove it and give the command again"


class SumOfTallies(beam.CombineFn):
    """Adds up what was found in all shards, confusion matrices among it."""

    def create_accumulator(self) -> Tally:
        """Returns what was found in no shard."""
        return Tally()

    def add_input(self, accumulator: Tally, element: Tally) -> Tally:
        """Adds a shard."""
        return self.merge_accumulators((accumulator, element))

    def merge_accumulators(self, accumulators: Iterable[Tally]) -> Tally:
        """Adds up partial sums."""
        parts = list(accumulators)
        matrices = [np.asarray(each.confusion) for each in parts if each.confusion is not None]
        return Tally(
            sum(each.images for each in parts),
            sum(each.scored for each in parts),
            tuple(fault for each in parts for fault in each.faults),
            tuple(map(tuple, np.sum(matrices, axis=0).tolist())) if matrices else None,
        )

    def extract_output(self, accumulator: Tally) -> Tally:
        """Returns the sum."""
        return accumulator


@dataclasses.dataclass(frozen=True)
class Summary:
    """The result of a bulk prediction, and the schema of `summary.json`.

    Attributes:
      images: the number of images that have a class map.
      damaged: the number of lines in `damaged.txt`.
      shards: the number of shards.
      scored: the number of images that were compared with a label.
      miou: their mean IoU, 0-1; None without labels, as what follows.
      pixel_accuracy: the share of pixels with the right class, 0-1.
      class_iou: the IoU by class, 0-1; None for a class that neither occurs nor is predicted.
      confusion: the confusion matrix; row: true class, column: predicted class.
    """

    images: schemas.Total
    damaged: schemas.Total
    shards: schemas.Total
    scored: schemas.Total = 0
    miou: schemas.Fraction | None = None
    pixel_accuracy: schemas.Fraction | None = None
    class_iou: Mapping[str, schemas.Fraction | None] | None = None
    confusion: tuple[tuple[schemas.Total, ...], ...] | None = None


def segment_in_bulk(job: Job, options: str = "") -> tuple[Summary, int]:
    """Segments images on Apache Beam; shards that an earlier call has done are not done again.

    `NAME_classes.png` or `class_maps-00000-of-00012.tfrecord`, and the folder `shards` with a file
    for every shard that is done, appear one after the other; at the end `summary.json` with the
    numbers and scores, and `damaged.txt` with the images and labels that cannot be used.

    Args:
      job: the job.
      options: the options of Beam, as on a command line.

    Returns:
      The result, and the number of shards that an earlier call has done.

    Raises:
      UserError: an option, the model or the folder cannot be used, two images have the same name,
        or no image at all could be segmented.
    """
    runner, parsed = read_options(options)
    if job.form == "png":
        check_names(job.images)
    if job.labels is not None and not storage.is_remote(job.labels):
        if not os.path.isdir(job.labels):
            raise UserError(f"{job.labels}: no such folder; expected PNGs named like the images")
    if job.budget is not None and job.budget.kind == "milliseconds":
        raise UserError(
            f"a budget of {job.budget}: how long workers take is not known here; give --iterations "
            "or --gmacs"
        )
    predictor = open_predictor(job.model, job.tile, job.max_size)
    predictor.check(job.budget)
    if job.stop_when_settled:
        predictor.model.check_can_stop()
    names, digest = predictor.model.names, _digest(predictor.model)
    del predictor  # workers load their own
    with contextlib.ExitStack() as stack:
        if not storage.is_remote(job.out):
            stack.enter_context(hold_folder(job.out))
        todo, done = begin(job, digest)
        # The workers need no list of millions of images.
        common = dataclasses.replace(job, images=())
        try:
            with beam.Pipeline(runner=runner, options=parsed) as pipeline:
                _build(pipeline, common, todo, list(map(job.manifest, done)), names)
        except Exception as error:
            found = user_error_of(error)
            if found is None:
                raise
            raise found from error
        path = storage.join(job.out, SUMMARY)
        held = schemas.parse_json(storage.read(path).decode(), path, _AGAIN)
        summary = schemas.check(held, Summary, path, _AGAIN)
    if not summary.images:
        raise UserError(
            f"no image could be segmented of {len(job.images)}; the reasons are in "
            f"{storage.join(job.out, FAULTS)}"
        )
    return summary, len(done)


def _build(
    pipeline: beam.Pipeline,
    job: Job,
    todo: Sequence[Shard],
    done: Sequence[str],
    names: Sequence[str],
) -> None:
    """Adds all steps to a pipeline.

    Args:
      pipeline: the pipeline.
      job: the job, without its images.
      todo: the shards to do.
      done: the paths of the files of those that are done.
      names: one name per class.
    """
    segmented = (
        pipeline
        | "list shards" >> beam.Create(todo)
        | "spread shards" >> beam.Reshuffle()
        | "segment" >> RunInference(ShardHandler(job))
        | "write" >> beam.Map(write_shard, job)
    )
    earlier = pipeline | "list done shards" >> beam.Create(done) | "read" >> beam.Map(read_tally)
    _ = (
        (segmented, earlier)
        | "all shards" >> beam.Flatten()
        | "sum" >> beam.CombineGlobally(SumOfTallies())
        | "summarize" >> beam.Map(_summarize, job.out, tuple(names), len(todo) + len(done))
    )


def _summarize(tally: Tally, out: str, names: Sequence[str], shards: int) -> None:
    """Writes the files about all images."""
    summary = Summary(tally.images, len(tally.faults), shards)
    if tally.confusion is not None:
        confusion = np.array(tally.confusion, np.int64)
        iou = [None if np.isnan(each) else each for each in metrics.class_iou(confusion).tolist()]
        summary = dataclasses.replace(
            summary,
            scored=tally.scored,
            miou=float(metrics.mean_iou(confusion)),
            pixel_accuracy=float(metrics.pixel_accuracy(confusion)),
            class_iou=dict(zip(names, iou, strict=True)),
            confusion=tally.confusion,
        )
    faults = "".join(f"{fault}\n" for fault in sorted(tally.faults))
    storage.write(storage.join(out, FAULTS), faults.encode(errors="surrogateescape"))
    content = json.dumps(dataclasses.asdict(summary), indent=2)
    storage.write(storage.join(out, SUMMARY), content.encode() + b"\n")


def _digest(model: SegmentationModel | FileModel) -> str:
    """Returns the checksum of a LiteRT file, or of the structure and the weights of a model."""
    if isinstance(model, FileModel):
        return hashlib.sha256(pathlib.Path(str(model.loaded_from)).read_bytes()).hexdigest()
    digest = hashlib.sha256(repr(model.get_config()).encode())
    for weights in model.get_weights():
        digest.update(weights.tobytes())
    return digest.hexdigest()
