"""What a bulk prediction is to do, in shards, and what of it is done."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from annotated_types import Ge, Le

from rnnseg import schemas
from rnnseg.budgets.budget import Budget
from rnnseg.bulk import FORMATS, storage
from rnnseg.errors import UserError

IMAGES_PER_SHARD = 64
"""So many images are segmented again at most if a worker is lost. Their class maps, a few kilobytes
each, are in memory together."""

_ELSEWHERE = "choose another --out, or remove it first"
_SHARDS = "shards"
_Count = Annotated[int, Ge(0), Le(1 << 53)]


@dataclasses.dataclass(frozen=True)
class Job:
    """A bulk prediction; all workers get it.

    Attributes:
      model: a run, a `.keras` or `.tflite` file or a preset, which every worker can open.
      out: the folder to write to, of this machine or of an object store.
      images: the paths of the images.
      budget: the budget for each image; None: as many iterations as in training.
      stop_when_settled: True to stop where further iterations would hardly change the prediction.
      tile: as in `rnnseg.Predictor`.
      max_size: likewise.
      form: one of `rnnseg.bulk.FORMATS`.
      labels: the folder of labels to score the class maps with, PNGs of class indices with the
        names of the images; None: no scores.
      images_per_shard: the number of images that are done together.
    """

    model: str
    out: str
    images: tuple[str, ...]
    budget: Budget | None = None
    stop_when_settled: bool = False
    tile: int | None = None
    max_size: int | None = None
    form: str = FORMATS[0]
    labels: str | None = None
    images_per_shard: int = IMAGES_PER_SHARD

    @property
    def shards(self) -> int:
        """The number of shards."""
        return -(-len(self.images) // self.images_per_shard)

    def shard(self, index: int) -> "Shard":
        """Returns a shard by its number, from 0."""
        first = index * self.images_per_shard
        images = self.images[first : first + self.images_per_shard]
        return Shard(f"{index:05d}-of-{self.shards:05d}", images)

    def manifest(self, shard: "Shard") -> str:
        """Returns the path of the file that says that a shard is done."""
        return storage.join(self.out, _SHARDS, f"{shard.name}.json")

    def description(self, model_digest: str) -> dict[str, Any]:
        """Returns what `job.json` holds: all that decides the results, in plain values.

        Args:
          model_digest: the checksum of the model's file.
        """
        listed = hashlib.sha256("\n".join(self.images).encode()).hexdigest()
        return {
            "model": self.model,
            "model_sha256": model_digest,
            "budget": None if self.budget is None else str(self.budget),
            "stop_when_settled": self.stop_when_settled,
            "tile": self.tile,
            "max_size": self.max_size,
            "format": self.form,
            "labels": self.labels,
            "images": len(self.images),
            "images_sha256": listed,
            "images_per_shard": self.images_per_shard,
        }


@dataclasses.dataclass(frozen=True)
class Shard:
    """Images that are done together.

    Attributes:
      name: its number, from 0, and that of all shards, such as 00003-of-00012.
      images: their paths.
    """

    name: str
    images: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Tally:
    """What was found in some images, and the schema of the file that says that a shard is done.

    Attributes:
      images: the number of images that have a class map.
      scored: the number of those that were compared with a label.
      faults: one line for each damaged image or label, with its path and the reason.
      confusion: the confusion matrix of the scored images; row: true class, column: predicted
        class. None without labels.
    """

    images: _Count = 0
    scored: _Count = 0
    faults: tuple[str, ...] = ()
    confusion: tuple[tuple[_Count, ...], ...] | None = None

    def to_json(self) -> bytes:
        """Returns the text of a file."""
        return json.dumps(dataclasses.asdict(self)).encode()


def begin(job: Job, model_digest: str) -> tuple[list[Shard], list[Shard]]:
    """Writes `job.json`, or checks that the same job continues.

    Args:
      job: the job.
      model_digest: the checksum of the model's file.

    Returns:
      The shards that are to do, and those that are done.

    Raises:
      UserError: the folder holds other files, or another job.
    """
    path = storage.join(job.out, "job.json")
    asked = job.description(model_digest)
    if storage.match(path):
        held = schemas.parse_json(storage.read(path).decode(errors="replace"), path, _ELSEWHERE)
        held = schemas.check(held, Mapping[str, Any], path, _ELSEWHERE)
        for key, value in asked.items():
            if held.get(key) != value:
                raise UserError(
                    f"{job.out} holds another job: {key} is {held.get(key)!r} there, not "
                    f"{value!r}; {_ELSEWHERE}"
                )
    elif storage.match(storage.join(job.out, "*")):
        raise UserError(f"{job.out} is not empty and holds no job of --beam; {_ELSEWHERE}")
    else:
        storage.write(path, json.dumps(asked, indent=2).encode() + b"\n")
    there = set(storage.match(storage.join(job.out, _SHARDS, "*.json")))
    shards = [job.shard(index) for index in range(job.shards)]
    done = [shard for shard in shards if job.manifest(shard) in there]
    return [shard for shard in shards if job.manifest(shard) not in there], done


def read_tally(path: str) -> Tally:
    """Reads the file that says that a shard is done.

    Raises:
      UserError: it is damaged.
    """
    way_out = "remove it, and the shard is done again"
    held = schemas.parse_json(storage.read(path).decode(errors="replace"), path, way_out)
    return schemas.check(held, Tally, path, way_out)


def check_names(images: Sequence[str]) -> None:
    """Raises a UserError if two images would write the same file."""
    owners: dict[str, str] = {}
    for image in images:
        name = stem(image)
        if name in owners:
            raise UserError(
                f"{owners[name]} and {image} have the same name and would write the same file: "
                "take --format tfrecord, which keeps paths, or different folders"
            )
        owners[name] = image


def stem(path: str) -> str:
    """Returns the name of a file without its folder and its ending."""
    return path.rsplit("/", 1)[-1].rpartition(".")[0] or path.rsplit("/", 1)[-1]
