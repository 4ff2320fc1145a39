"""Latency profiles: the times of a model on one machine, kept in a file beside the model."""

import bisect
import dataclasses
import json
import math
import os
import pathlib
import platform
import shlex
from collections.abc import Mapping, Sequence
from typing import Annotated

from annotated_types import MinLen

from rnnseg import grid, schemas
from rnnseg.budgets import timing
from rnnseg.errors import UserError
from rnnseg.files import atomic_path, beside


@dataclasses.dataclass(frozen=True)
class Machine:
    """The hardware that the latency depends on.

    Attributes:
      processor: the name of the processor.
      cores: the number of cores that the process may use.
      accelerators: the names of the GPUs.
    """

    processor: str
    cores: schemas.Count
    accelerators: tuple[str, ...] = ()

    @classmethod
    def this(cls) -> "Machine":
        """Returns the machine that this process runs on."""
        import tensorflow as tf

        details = map(
            tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU")
        )
        names = tuple(each.get("device_name", "GPU") for each in details)
        affinity = getattr(os, "sched_getaffinity", None)
        cores = len(affinity(0)) if affinity else os.cpu_count() or 1
        return cls(_processor_name(), cores, names)

    def __str__(self) -> str:
        cores = f"{self.cores} core{'s' if self.cores > 1 else ''}"
        return ", ".join((self.processor, cores, *self.accelerators))


@dataclasses.dataclass(frozen=True)
class SizeProfile:
    """The median times at one image size, one image at a time.

    Attributes:
      height: of the image, in pixels.
      width: of the image, in pixels.
      stages: the milliseconds of `encode`, `prepare`, `refine` (one iteration of several) and
        `read`, each called by itself.
      predictions: the milliseconds of a whole prediction, by number of iterations.
    """

    height: schemas.Pixels
    width: schemas.Pixels
    stages: Mapping[str, schemas.Milliseconds]
    predictions: Annotated[Mapping[schemas.Iterations, schemas.Milliseconds], MinLen(1)]


@dataclasses.dataclass(frozen=True)
class Profile:
    """The latency of one model on one machine, as `rnnseg benchmark` measured it.

    It is the schema of the file, too.

    Attributes:
      model: the place of the model, a `.keras` file, a `.tflite` file or the folder of a run; the
        profile is beside it.
      machine: the machine of the measurement.
      tensorflow: the version of the library.
      parameters: the number of the model's parameters, or of a LiteRT file's bytes, which tells if
        another model has taken its place.
      sizes: the times at each size, at least one, by rising number of pixels.
      first_iterations: the number of iterations before each stage of the encoder, from 0.
      library: the name of the library that ran the model, "TensorFlow" or "LiteRT".
    """

    model: str
    machine: Machine
    tensorflow: str
    parameters: schemas.Total
    sizes: Annotated[tuple[SizeProfile, ...], MinLen(1)]
    # Profiles of earlier versions are of encoders with one stage.
    first_iterations: Annotated[tuple[schemas.Total, ...], MinLen(1)] = (0,)
    library: str = "TensorFlow"

    def latency(self, size: SizeProfile) -> timing.Latency:
        """Returns the milliseconds of a prediction by number of iterations at a measured size."""
        return timing.fit(size.predictions, self.first_iterations)

    def milliseconds(self, height: int, width: int, iterations: int, scale: float = 1.0) -> float:
        """Returns the expected time of a prediction, which never falls with the iterations.

        It is interpolated between the two nearest sizes that were measured, linearly in the number
        of pixels, as multiply-adds grow. An image below the smallest size counts as that size,
        since the overheads that dominate there do not shrink.

        Args:
          height: of the image, in pixels.
          width: of the image, in pixels.
          iterations: the number of iterations.
          scale: the scale at which the image is segmented. Its class map still has the size of the
            image, so that `read` takes as long as for the whole image.

        Returns:
          Milliseconds.

        Raises:
          UserError: the image is larger than all sizes that were measured.
        """
        sides = height, width
        whole = [self.latency(each)(iterations) for each in self.sizes]
        if scale == 1:
            return self._interpolated(sides, whole)
        reads = [each.stages.get("read", 0.0) for each in self.sizes]
        rest = [time - read for time, read in zip(whole, reads, strict=True)]
        smaller = grid.scaled_size(height, scale), grid.scaled_size(width, scale)
        return self._interpolated(smaller, rest) + self._interpolated(sides, reads)

    def _interpolated(self, sides: tuple[int, int], times: Sequence[float]) -> float:
        """Returns the time for an image of some (height, width), from one for each size."""
        areas = [each.height * each.width for each in self.sizes]
        area = max(math.prod(sides), areas[0])
        if area > areas[-1]:
            height, width = sides
            raise UserError(
                f"an image of {height}x{width} is larger than any in {profile_path(self.model)}; "
                f"measure this size, too: {self.command(sides)}"
            )
        upper = bisect.bisect_left(areas, area)
        if areas[upper] == area:
            return times[upper]
        share = (area - areas[upper - 1]) / (areas[upper] - areas[upper - 1])
        return (1 - share) * times[upper - 1] + share * times[upper]

    def command(self, *more: tuple[int, int]) -> str:
        """Returns the command that measures all sizes anew, and `more` sizes, (height, width)."""
        return benchmark_command(
            self.model, *((each.height, each.width) for each in self.sizes), *more
        )

    def save(self) -> None:
        """Writes the profile beside the model."""
        content = dataclasses.asdict(self)
        del content["model"]  # the folder of a run may be moved
        with atomic_path(profile_path(self.model)) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n")

    @classmethod
    def load(cls, model: str | os.PathLike) -> "Profile":
        """Reads the profile beside a model.

        Args:
          model: a `.keras` file, a `.tflite` file or the folder of a run.

        Raises:
          UserError: the profile is missing, or the file is no profile.
        """
        path = profile_path(model)
        if not path.is_file():
            raise UserError(
                f"{path}: no such profile; measure one on this machine: {benchmark_command(model)}"
            )
        way_out = f"measure it anew: {benchmark_command(model)}"
        profile = schemas.read_json(
            path, cls, way_out, lambda content: content | {"model": str(model)}
        )
        areas = [each.height * each.width for each in profile.sizes]
        for key, values, first in (
            ("sizes", areas, areas[0]),
            ("first_iterations", profile.first_iterations, 0),
        ):
            if list(values) != sorted(values) or values[0] != first:
                raise UserError(f"{path}: {key} do not rise from {first}; {way_out}")
        return profile


def profile_path(model: str | os.PathLike) -> pathlib.Path:
    """Returns the path of the profile of a model: of a run's folder, or of a model's file."""
    return beside(model, "profile.json")


def benchmark_command(model: str | os.PathLike, *sizes: tuple[int, int]) -> str:
    """Returns the command that measures a model at some sizes, (height, width), and saves them."""
    listed = ",".join(f"{height}x{width}" for height, width in sizes) or "HEIGHTxWIDTH"
    return f"rnnseg benchmark {shlex.quote(str(model))} --size {listed} --save"


def _processor_name() -> str:
    """Returns the name of the processor, by the means of the operating system."""
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                key, _, value = line.partition(":")
                if key.strip() == "model name":
                    return value.strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or platform.machine()
