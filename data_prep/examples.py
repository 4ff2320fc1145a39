"""Making of the values of records from labelled images, in one process or several."""

import collections
import concurrent.futures.process
import functools
import io
import multiprocessing.connection
import os
import pathlib
import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image

from rnnseg.data.images import encode_png, turn_upright
from rnnseg.data.metadata import UPRIGHT
from rnnseg.errors import UserError

from .common import Pair, read_encoded_image, read_upright_image
from .masks import MaskReader

Example = dict[str, bytes | str]
MakeExample = Callable[[Pair], Example]

# The number of labelled images that a process gets at a time: large enough to make the exchange
# cheap, small enough for all processes to end at about the same time.
_CHUNK = 8
# The number of chunks per process that are submitted but not yet written. It bounds the memory if
# writing is the slower part.
_AHEAD = 3


class MakePairExample:
    """A maker of records of images whose labels are mask files."""

    def __init__(self, masks: MaskReader, as_stored: bool = False):
        """Keeps the reader.

        Args:
          masks: the reader of all masks.
          as_stored: as in `read_encoded_image`.
        """
        self._masks = masks
        self._as_stored = as_stored

    def __call__(self, pair: Pair) -> Example:
        """Makes the values of the record from the two files.

        Raises:
          UserError: one of the files cannot be used.
        """
        label, label_size = self._masks.read_label(pair.mask)
        if self._as_stored:
            image, size = read_encoded_image(pair.image, as_stored=True)
        else:
            image, size, orientation = read_upright_image(pair.image, label_size)
            if orientation != UPRIGHT:
                labels = turn_upright(np.asarray(Image.open(io.BytesIO(label))), orientation)
                label, label_size = encode_png(labels), labels.shape[::-1]
        require_same_size(pair, size, label_size)
        return {"image": image, "label": label, "name": pair.name}


def require_same_size(pair: Pair, size: tuple[int, int], label_size: tuple[int, int]) -> None:
    """Raises a UserError unless the mask has the (width, height) of its image."""
    if label_size != size:
        raise UserError(
            f"{pair.mask}: a mask of {label_size[1]}x{label_size[0]} pixels, expected "
            f"{size[1]}x{size[0]} as in its image {pair.image}"
        )


class Examples:
    """The records of one split. The length of this iterable is the total of TFDS's progress bar."""

    def __init__(
        self,
        pairs: Sequence[Pair],
        make_example: MakeExample,
        processes: int = 1,
        left_out: pathlib.Path | None = None,
    ):
        """Keeps the images and the options.

        Args:
          pairs: the labelled images.
          make_example: makes the values of the record of one image.
          processes: the number of processes; 1 stands for the calling process.
          left_out: the file to write, with a list of the images that cannot be used. None: the
            first such image is an error.
        """
        self._pairs = pairs
        self._make_example = make_example
        self._processes = processes
        self._left_out = left_out

    def __len__(self) -> int:
        return len(self._pairs)

    def __iter__(self) -> Iterator[tuple[str, Example]]:
        """Yields (key, values) of every image, in the order of the images.

        Raises:
          UserError: an image or its labels cannot be used and `left_out` is None, or no image can
            be used.
        """
        faults = []
        for result in self._results():
            if isinstance(result, UserError):
                if self._left_out is None:
                    raise result
                faults.append(str(result))
            else:
                yield result["name"], result
        if faults:
            if len(faults) == len(self._pairs):
                raise UserError(f"no image is left of {len(faults)}: {faults[0]}")
            self._left_out.write_text("".join(f"{fault}\n" for fault in faults))

    def _results(self) -> Iterator[Example | UserError]:
        # Starting a process takes as long as making a few dozen records.
        processes = min(self._processes, len(self._pairs) // (4 * _CHUNK))
        if processes <= 1:
            yield from (example_or_fault(self._make_example, pair) for pair in self._pairs)
            return
        chunks = iter(
            self._pairs[start : start + _CHUNK] for start in range(0, len(self._pairs), _CHUNK)
        )
        pending = collections.deque()
        # Not forked, since a fork copies the locks of TensorFlow's threads without the threads.
        with concurrent.futures.ProcessPoolExecutor(
            processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_Worker.start,
            initargs=(self._make_example,),
        ) as pool:
            try:
                for chunk in chunks:
                    pending.append(pool.submit(_Worker.run, chunk))
                    if len(pending) >= _AHEAD * processes:
                        yield from pending.popleft().result()
                while pending:
                    yield from pending.popleft().result()
            except concurrent.futures.process.BrokenProcessPool as error:
                raise UserError(
                    "a process ended unexpectedly, perhaps for lack of memory; use fewer with "
                    "--processes"
                ) from error
            finally:
                for future in pending:
                    future.cancel()


class _Worker:
    """The work of a separate process. It receives the maker once, since that can be large."""

    make_example: MakeExample

    @classmethod
    def start(cls, make_example: MakeExample) -> None:
        cls.make_example = make_example
        threading.Thread(target=_end_with_parent, daemon=True).start()

    @classmethod
    def run(cls, pairs: Sequence[Pair]) -> list[Example | UserError]:
        return [example_or_fault(cls.make_example, pair) for pair in pairs]


def _end_with_parent() -> None:
    """Ends this process when its parent has ended, since a killed parent cannot end it."""
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def example_or_fault(make_example: MakeExample, pair: Pair) -> Example | UserError:
    """Returns the values of the record of an image, or the error if it cannot be used."""
    try:
        return make_example(pair)
    except UserError as error:
        return error


def beam_examples(
    pairs: Sequence[Pair], make_example: MakeExample, left_out: pathlib.Path | None = None
):
    """Returns the records of `Examples` as an Apache Beam transform.

    Args:
      pairs: the labelled images.
      make_example: makes the values of the record of one image.
      left_out: as in `Examples`. Beam writes this file, so it may be on any file system.

    Returns:
      A `beam.PTransform` from a pipeline to (key, values).
    """
    import apache_beam as beam

    @beam.ptransform_fn
    def transform(pipeline):
        results = (
            pipeline
            | beam.Create(pairs)
            | beam.Reshuffle()  # Create gives all pairs to one worker
            | beam.Map(functools.partial(example_or_fault, make_example))
        )
        if left_out is None:
            return results | beam.Map(_key_or_raise)
        _ = (
            results
            | "Faults" >> beam.Filter(lambda result: isinstance(result, UserError))
            | beam.Map(str)
            | beam.io.WriteToText(str(left_out), shard_name_template="", skip_if_empty=True)
        )
        return (
            results
            | "Examples" >> beam.Filter(lambda result: not isinstance(result, UserError))
            | beam.Map(lambda example: (example["name"], example))
        )

    return transform()


def _key_or_raise(result: Example | UserError) -> tuple[str, Example]:
    if isinstance(result, UserError):
        raise result
    return result["name"], result
