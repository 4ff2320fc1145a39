"""The TFDS builders, and the one function that runs them."""

import contextlib
import hashlib
import io
import json
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow_datasets as tfds

from data_prep.common import Pair, Plan, absolute, read_picture
from data_prep.masks import MaskReader, encode_label
from rnnseg.data.records import find_builds, load_build, unfinished_builds
from rnnseg.data.source import IGNORE_LABEL
from rnnseg.errors import UserError

_ELSEWHERE = "choose another --out, or remove it first"


class Examples:
    """The records of one split. Has a length, which gives TFDS's progress bar its total."""

    def __init__(self, pairs: Sequence[Pair], masks: MaskReader):
        self._pairs = pairs
        self._masks = masks

    def __len__(self) -> int:
        return len(self._pairs)

    def __iter__(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields (key, example) of every pair.

        Raises:
          UserError: a picture or a mask cannot be used.
        """
        for pair in self._pairs:
            picture, (width, height) = read_picture(pair.image)
            labels = self._masks.read(pair.mask)
            if labels.shape != (height, width):
                raise UserError(
                    f"{pair.mask}: a mask of {labels.shape[1]}x{labels.shape[0]} pixels, expected "
                    f"{width}x{height} as its picture {pair.image} has"
                )
            yield (
                pair.name,
                {"image": picture, "label": encode_label(labels), "name": pair.name},
            )


class SegmentationBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """What the builders share: features, metadata and splits, as a `Plan` has them."""

    VERSION = tfds.core.Version("1.0.0")
    # Nothing is downloaded; TFDS would look for a file of checksums beside the code.
    url_infos = {}
    DESCRIPTION = ""
    HOMEPAGE = None
    CITATION = None

    def __init__(self, *, plan: Plan, masks: MaskReader, **kwargs):
        """Keeps what to build.

        Args:
          plan: classes, pairs and arguments.
          masks: reads the masks of all pairs.
          **kwargs: those of every TFDS builder, `data_dir` first of all.
        """
        self._plan = plan
        self._masks = masks
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.DESCRIPTION,
            homepage=self.HOMEPAGE,
            citation=self.CITATION,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3)),
                    "label": tfds.features.Image(
                        shape=(None, None, 1), encoding_format="png", use_colormap=True
                    ),
                    "name": tfds.features.Text(),
                }
            ),
            metadata=tfds.core.MetadataDict(_metadata(self._plan)),
        )

    def _split_generators(self, dl_manager) -> dict[str, Examples]:
        return {split: self._generate_examples(pairs) for split, pairs in self._plan.splits.items()}

    def _generate_examples(self, pairs: Sequence[Pair]) -> Examples:
        return Examples(pairs, self._masks)


class VocSegmentation(SegmentationBuilder):
    """PASCAL VOC 2012 with its masks, which TFDS's own `voc` leaves out."""

    DESCRIPTION = (
        "PASCAL VOC 2012 semantic segmentation: 20 classes and the background, with the augmented "
        "training set where its masks are there."
    )
    HOMEPAGE = "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/"
    CITATION = """\
@article{everingham2010pascal,
  title={The PASCAL Visual Object Classes (VOC) Challenge},
  author={Everingham, Mark and Van Gool, Luc and Williams, Christopher K. I. and Winn, John and
          Zisserman, Andrew},
  journal={International Journal of Computer Vision},
  volume={88},
  number={2},
  pages={303--338},
  year={2010}
}"""


class SegmentationFolder(SegmentationBuilder):
    """Anyone's own pictures and masks."""

    DESCRIPTION = "Pictures and masks from folders."


def build(
    builder_class: type[SegmentationBuilder], plan: Plan, masks: MaskReader, out: pathlib.Path
) -> tuple[pathlib.Path, bool]:
    """Builds what the plan says, unless that is there already.

    Nothing that looks finished is there before everything is written and checked: TFDS writes into
    a folder of another name and renames it at the end.

    Args:
      builder_class: decides the data set's name.
      plan: what to build.
      masks: reads the masks of all pairs.
      out: the folder to build below, made where it is missing.

    Returns:
      The folder of the finished build, and whether it was written now.

    Raises:
      UserError: a file cannot be used, or `out` holds another data set or cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: a file, expected a folder to write to")
    folder = out / builder_class.name / str(builder_class.VERSION)
    builds = find_builds(out)
    if builds:
        _require_same(builds, folder, plan)
        return folder, False
    if folder.exists():
        raise UserError(f"{folder}: no data set, but in its place; {_ELSEWHERE}")
    try:
        builder = builder_class(plan=plan, masks=masks, data_dir=absolute(out))
        # TFDS announces an unknown download size on the standard output; its bars are on the other.
        with (
            contextlib.redirect_stdout(io.StringIO()),
            tempfile.TemporaryDirectory() as no_downloads,
        ):
            builder.download_and_prepare(
                download_dir=no_downloads,
                download_config=tfds.download.DownloadConfig(try_download_gcs=False),
            )
    except UserError:
        raise
    except Exception as error:
        cause = _failed_write(error)
        if cause is None:
            raise
        raise UserError(f"{out}: cannot write the records there ({cause})") from error
    for path in unfinished_builds(folder.parent):
        shutil.rmtree(path, ignore_errors=True)  # what a killed run left
    return folder, True


def _failed_write(error: Exception) -> Exception | None:
    """What the system said if `error` comes from writing files; TFDS wraps it in others."""
    import tensorflow as tf

    while error.__cause__ is not None:
        error = error.__cause__
    return error if isinstance(error, (OSError, tf.errors.OpError)) else None


def _metadata(plan: Plan) -> dict[str, Any]:
    """What is stored with the records, as JSON gives it back."""
    metadata = {
        "class_names": plan.class_names,
        "class_colors": plan.class_colors,
        "ignore_label": IGNORE_LABEL,
        "arguments": plan.arguments,
        "sources": _fingerprint(plan),
    }
    return json.loads(json.dumps(metadata))


def _fingerprint(plan: Plan) -> str:
    """A hash of all files' names, sizes and times, by which a rebuild sees that one has changed.

    Folders are left out: they are among the arguments, and may be given relative to any folder.

    Raises:
      UserError: a file is missing, such as behind a broken link.
    """
    digest = hashlib.sha256()
    for split, pairs in sorted(plan.splits.items()):
        for pair in pairs:
            for path in (pair.image, pair.mask):
                try:
                    status = path.stat()
                except OSError as error:
                    raise UserError(f"{path}: cannot be read ({error.strerror})") from error
                entry = (split, pair.name, path.name, status.st_size, status.st_mtime_ns)
                digest.update(json.dumps(entry).encode())
    return digest.hexdigest()


def _require_same(builds: Sequence[pathlib.Path], folder: pathlib.Path, plan: Plan):
    """Raises a UserError unless the only build is the one in `folder`, made from the same plan."""
    if [build.resolve() for build in builds] != [folder.resolve()]:
        raise UserError(f"{builds[0]}: another data set is there already; {_ELSEWHERE}")
    metadata = load_build(folder).info.metadata
    for key, value in _metadata(plan).items():
        if metadata.get(key) != value:
            how = "with other " + ("or changed files" if key == "sources" else key)
            raise UserError(f"{folder}: a data set built {how} is there already; {_ELSEWHERE}")
