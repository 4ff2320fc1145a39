"""The base class of all TFDS builders, and the function that runs them."""

import abc
import contextlib
import hashlib
import io
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Sequence
from typing import Any

import tensorflow_datasets as tfds

from rnnseg import schemas
from rnnseg.bulk.beam import causes, read_options, user_error_of
from rnnseg.data.records import find_builds, load_build, unfinished_builds
from rnnseg.data.source import IGNORE_LABEL
from rnnseg.data.stalls import limited_stalls
from rnnseg.errors import UserError
from rnnseg.locks import hold_folder

from .archives import status_of
from .common import BuildPlan
from .examples import Examples, beam_examples

_ELSEWHERE = "choose another --out, or remove it first"


class SegmentationBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """The base class of the builders: features, metadata and splits, as a `BuildPlan` has them."""

    VERSION = tfds.core.Version("1.0.0")
    DESCRIPTION = ""
    HOMEPAGE = None
    CITATION = None

    def __init__(
        self,
        *,
        processes: int = 1,
        beam: bool = False,
        skip_bad: bool = False,
        **kwargs,
    ):
        """Keeps the options of the build.

        Args:
          processes: the number of processes.
          beam: True to build with Apache Beam, with the runner and the options of the
            `tfds.download.DownloadConfig`.
          skip_bad: True to leave out images that cannot be used and list them beside the records;
            False to end with an error.
          **kwargs: the arguments of every TFDS builder, such as `config` and `data_dir`.
        """
        self._processes = processes
        self._beam = beam
        self._skip_bad = skip_bad
        self._plan = None
        super().__init__(**kwargs)

    @property
    @abc.abstractmethod
    def is_published(self) -> bool:
        """True if TFDS finds or downloads all files under their published names."""

    @property
    def skip_bad(self) -> bool:
        """True if images that cannot be used are left out."""
        return self._skip_bad

    def plan(self, dl_manager: tfds.download.DownloadManager) -> BuildPlan:
        """Returns the plan of the build, which is made at the first call.

        Raises:
          UserError: files are missing or damaged, or cannot be downloaded.
        """
        if self._plan is None:
            self._plan = self._make_plan(dl_manager)
        return self._plan

    @abc.abstractmethod
    def _make_plan(self, dl_manager: tfds.download.DownloadManager) -> BuildPlan:
        """Makes the plan of the build."""

    def _features(self) -> dict[str, tfds.features.FeatureConnector]:
        """Returns the features of a record: those of all data sets; subclasses may add others."""
        return {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.Image(
                shape=(None, None, 1), encoding_format="png", use_colormap=True
            ),
            "name": tfds.features.Text(),
        }

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.DESCRIPTION,
            homepage=self.HOMEPAGE,
            citation=self.CITATION,
            features=tfds.features.FeaturesDict(self._features()),
            metadata=tfds.core.MetadataDict(),  # filled when the plan is known
        )

    def _split_generators(self, dl_manager) -> dict[str, Any]:
        plan = self.plan(dl_manager)
        self.info.metadata.update(metadata_of(plan, self._skip_bad))
        folder = pathlib.Path(self.data_dir)
        for split, names in plan.missing.items():
            (folder / f"missing-{split}.txt").write_text("".join(f"{name}\n" for name in names))
        return {
            split: self._generate_examples(
                pairs, plan, folder / f"left_out-{split}.txt" if self._skip_bad else None
            )
            for split, pairs in plan.splits.items()
        }

    def _generate_examples(self, pairs, plan, left_out):
        if self._beam:
            return beam_examples(pairs, plan.make_example, left_out)
        return Examples(pairs, plan.make_example, self._processes, left_out)


def find_source(
    dl_manager: tfds.download.DownloadManager, names: Sequence[str], url: str | None = None
) -> pathlib.Path:
    """Finds a published file among the manual and the other downloads, or downloads it.

    Args:
      dl_manager: the download manager, which knows the folders.
      names: the accepted names of the file or of the folder that it was unpacked to.
      url: the address of the download; None if it must be downloaded manually.

    Raises:
      UserError: the file is missing and cannot be downloaded.
    """
    folders = [pathlib.Path(dl_manager.download_dir)]
    with contextlib.suppress(AssertionError):  # raised by TFDS if the folder does not exist
        folders.insert(0, pathlib.Path(dl_manager.manual_dir))
    for folder in folders:
        for name in names:
            if (folder / name).exists():
                return folder / name
    put_it = f"put {names[0]} into {folders[-1]}"
    if url is None:
        raise UserError(f"{' or '.join(names)}: not found; {put_it}")
    try:
        with limited_stalls():
            return pathlib.Path(os.fspath(dl_manager.download(url)))
    except UserError as error:
        raise UserError(f"{error}; or {put_it}") from error
    except Exception as error:  # errors of the network, of requests, of TFDS's checksums
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{url}: cannot be downloaded ({reason}); {put_it}") from error


def build(
    builder: SegmentationBuilder,
    out: pathlib.Path,
    download_dir: pathlib.Path | None = None,
    beam_options: str | None = None,
) -> tuple[pathlib.Path, bool]:
    """Builds a data set unless it exists already.

    An unfinished build never has the final name: TFDS writes into a folder with another name, and
    renames it when everything is written and checked.

    Args:
      builder: the builder, whose `data_dir` is `out`.
      out: the folder to build below, created if it is missing.
      download_dir: the folder of published files and of downloads; None if there are none.
      beam_options: the command line options of the Apache Beam pipeline; None to build without
        Beam.

    Returns:
      The folder of the finished build, and True if it was written by this call.

    Raises:
      UserError: a file cannot be used, or `out` holds another data set, cannot be written, or is
        written by another process.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: a file, expected a folder to write to")
    folder = pathlib.Path(builder.data_dir)
    config = tfds.download.DownloadConfig(try_download_gcs=False, **_beam_arguments(beam_options))
    with contextlib.ExitStack() as stack:
        if download_dir is None:  # TFDS creates this folder even if it needs none
            download_dir = stack.enter_context(tempfile.TemporaryDirectory())
        # TFDS prints the unknown download size to standard output; its bars go to standard error.
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        dl_manager = tfds.download.DownloadManager(
            download_dir=download_dir,
            manual_dir=pathlib.Path(download_dir, "manual"),
            manual_dir_instructions=builder.MANUAL_DOWNLOAD_INSTRUCTIONS,
            url_infos=builder.url_infos,
            dataset_name=builder.name,
        )
        builds = find_builds(out)
        if builds:
            _require_same(builds, folder, builder, dl_manager)
            return folder, False
        if folder.exists():
            raise UserError(f"{folder}: exists but is not a data set; {_ELSEWHERE}")
        stack.enter_context(hold_folder(out))
        builder.plan(dl_manager)  # reports missing files before anything is written
        try:
            builder.download_and_prepare(download_dir=download_dir, download_config=config)
        except Exception as error:
            user_error = _as_user_error(error, out)
            if user_error is None:
                raise
            raise user_error from error
        for path in unfinished_builds(folder.parent):
            shutil.rmtree(path, ignore_errors=True)  # left by a killed run
    return folder, True


def _beam_arguments(options: str | None) -> dict[str, Any]:
    if options is None:
        return {}
    runner, parsed = read_options(options)
    return {"beam_runner": runner, "beam_options": parsed}


def _as_user_error(error: Exception, out: pathlib.Path) -> UserError | None:
    """Returns the UserError that caused `error` or corresponds to it; None for other errors."""
    import tensorflow as tf

    found = user_error_of(error)
    if found is not None:
        return found
    *_, first = causes(error)
    if isinstance(first, (OSError, tf.errors.OpError)):
        return UserError(f"{out}: cannot write the records there ({first})")
    return None


def metadata_of(plan: BuildPlan, skip_bad: bool) -> dict[str, Any]:
    """Returns the metadata that are stored with the records, in the form that JSON returns."""
    metadata = {
        "class_names": plan.class_names,
        "class_colors": plan.class_colors,
        "ignore_label": IGNORE_LABEL,
        "arguments": {**plan.arguments, "skip_bad": skip_bad},
        "full_sizes": dict(plan.full_sizes),
        "sources": _fingerprint(plan),
    }
    return json.loads(json.dumps(metadata))


def _fingerprint(plan: BuildPlan) -> str:
    """Hashes the names, sizes and times of all files, so that a rebuild detects changed files.

    Folders are left out: they are among the arguments, and may be given relative to any folder.

    Raises:
      UserError: a file is missing, for example behind a broken link.
    """
    digest = hashlib.sha256()
    for split, pairs in sorted(plan.splits.items()):
        for pair in pairs:
            for file in pair.files:
                digest.update(json.dumps((split, pair.name, *status_of(file))).encode())
    return digest.hexdigest()


def _require_same(builds, folder: pathlib.Path, builder: SegmentationBuilder, dl_manager) -> None:
    """Raises a UserError unless the only build is in `folder` and was made from the same files.

    Published files are not searched again, since they may have been removed after the build.
    """
    if [build.resolve() for build in builds] != [folder.resolve()]:
        raise UserError(f"{builds[0]}: another data set exists already; {_ELSEWHERE}")
    found = load_build(folder).info.metadata
    if builder.is_published:
        return
    for key, value in metadata_of(builder.plan(dl_manager), builder.skip_bad).items():
        if found.get(key) != value:
            how = "with other " + ("or changed files" if key == "sources" else key)
            raise UserError(f"{folder}: a data set built {how} exists already; {_ELSEWHERE}")


def stored_lists(folder: pathlib.Path, kind: str) -> dict[str, list[str]]:
    """Reads the lists of images beside the records.

    Args:
      folder: the folder of the finished build.
      kind: "missing" or "left_out".

    Returns:
      The lines of the list of every split that has one.
    """
    return {
        path.stem.removeprefix(f"{kind}-"): schemas.read_text(path, _ELSEWHERE).splitlines()
        for path in sorted(folder.glob(f"{kind}-*.txt"))
    }
