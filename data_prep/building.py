"""What all TFDS builders share, and the one function that runs them."""

import abc
import contextlib
import hashlib
import io
import json
import logging
import os
import pathlib
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow_datasets as tfds

from rnnseg.data.records import find_builds, load_build, unfinished_builds
from rnnseg.data.source import IGNORE_LABEL
from rnnseg.errors import UserError

from .archives import status_of
from .common import BuildPlan
from .examples import Examples, beam_examples

_ELSEWHERE = "choose another --out, or remove it first"
# How an error of ours looks in the text that Apache Beam makes of what its workers raise, and what
# it adds to the error itself.
_WORKERS_ERROR = re.compile(r"UserError: (.*?)(?: \[while running|$)", re.MULTILINE)
_BEAMS_PART = re.compile(r" \[while running .*\]$", re.DOTALL)


class SegmentationBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """What the builders share: features, metadata and splits, as a `BuildPlan` has them."""

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
        """Keeps what to build and how.

        Args:
          processes: how many to build on.
          beam: whether to build with Apache Beam, whose runner and options are those in the
            `tfds.download.DownloadConfig`.
          skip_bad: whether to leave out images that cannot be used, with a list of them beside
            the records, instead of ending with an error.
          **kwargs: those of every TFDS builder, `config` and `data_dir` first of all.
        """
        self._processes = processes
        self._beam = beam
        self._skip_bad = skip_bad
        self._plan = None
        super().__init__(**kwargs)

    @property
    @abc.abstractmethod
    def is_published(self) -> bool:
        """Whether the files go by their published names, or are downloaded: none are given."""

    @property
    def skip_bad(self) -> bool:
        """Whether images that cannot be used are left out."""
        return self._skip_bad

    def plan(self, dl_manager: tfds.download.DownloadManager) -> BuildPlan:
        """What is to be built, settled when first asked for.

        Raises:
          UserError: files are missing or damaged, or cannot be downloaded.
        """
        if self._plan is None:
            self._plan = self._make_plan(dl_manager)
        return self._plan

    @abc.abstractmethod
    def _make_plan(self, dl_manager: tfds.download.DownloadManager) -> BuildPlan:
        """Settles what is to be built."""

    def _features(self) -> dict[str, tfds.features.FeatureConnector]:
        """The features of a record; those that all data sets have, unless a subclass adds some."""
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
    """Finds a published file among the manual and the downloaded ones, or downloads it.

    Args:
      dl_manager: knows the folders.
      names: what the file may be called, or the folder that it was unpacked to.
      url: where it can be downloaded; None: only by hand.

    Raises:
      UserError: it is not there and cannot be downloaded.
    """
    folders = [pathlib.Path(dl_manager.download_dir)]
    with contextlib.suppress(AssertionError):  # TFDS's way to say that the folder is not there
        folders.insert(0, pathlib.Path(dl_manager.manual_dir))
    for folder in folders:
        for name in names:
            if (folder / name).exists():
                return folder / name
    put_it = f"put {names[0]} into {folders[-1]}"
    if url is None:
        raise UserError(f"{' or '.join(names)}: not found; {put_it}")
    try:
        return pathlib.Path(os.fspath(dl_manager.download(url)))
    except Exception as error:  # of the network, of requests, of TFDS's checksums
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{url}: cannot be downloaded ({reason}); {put_it}") from error


def build(
    builder: SegmentationBuilder,
    out: pathlib.Path,
    download_dir: pathlib.Path | None = None,
    beam_options: str | None = None,
) -> tuple[pathlib.Path, bool]:
    """Builds a data set, unless it is there already.

    Nothing that looks finished is there before everything is written and checked: TFDS writes into
    a folder of another name and renames it at the end.

    Args:
      builder: what to build; its `data_dir` is `out`.
      out: the folder to build below, made where it is missing.
      download_dir: where published files lie or are downloaded to; None if nothing can be
        downloaded.
      beam_options: those of the Apache Beam pipeline, as on its command line; None: without Beam.

    Returns:
      The folder of the finished build, and whether it was written now.

    Raises:
      UserError: a file cannot be used, or `out` holds another data set or cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: a file, expected a folder to write to")
    folder = pathlib.Path(builder.data_dir)
    config = tfds.download.DownloadConfig(try_download_gcs=False, **_beam_arguments(beam_options))
    with contextlib.ExitStack() as stack:
        if download_dir is None:  # TFDS makes the folder, needed or not
            download_dir = stack.enter_context(tempfile.TemporaryDirectory())
        # TFDS announces an unknown download size on the standard output; its bars are elsewhere.
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
            raise UserError(f"{folder}: no data set, but in its place; {_ELSEWHERE}")
        builder.plan(dl_manager)  # what is missing is missed before anything is written
        try:
            builder.download_and_prepare(download_dir=download_dir, download_config=config)
        except Exception as error:
            user_error = _as_user_error(error, out)
            if user_error is None:
                raise
            raise user_error from error
    for path in unfinished_builds(folder.parent):
        shutil.rmtree(path, ignore_errors=True)  # what a killed run left
    return folder, True


def _beam_arguments(options: str | None) -> dict[str, Any]:
    if options is None:
        return {}
    try:
        from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
        from apache_beam.runners import create_runner
    except ImportError as error:
        raise UserError(f"--beam needs apache-beam: pip install rnnseg[beam] ({error})") from error
    parsed = PipelineOptions(shlex.split(options))
    try:
        runner = create_runner(parsed.view_as(StandardOptions).runner or "DirectRunner")
    except (ValueError, ImportError) as error:
        raise UserError(f"--beam {options}: {error}") from error
    # Of what it raises, Beam also logs every worker's traceback.
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    return {"beam_runner": runner, "beam_options": parsed}


def _as_user_error(error: Exception, out: pathlib.Path) -> UserError | None:
    """The UserError that `error` comes from or stands for, if there is one."""
    import tensorflow as tf

    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, UserError):
            return UserError(_BEAMS_PART.sub("", str(cause)))
        found = _WORKERS_ERROR.search(str(cause))
        if found:
            return UserError(found[1])
    if isinstance(causes[-1], (OSError, tf.errors.OpError)):
        return UserError(f"{out}: cannot write the records there ({causes[-1]})")
    return None


def _causes(error: BaseException | None) -> Iterable[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def metadata_of(plan: BuildPlan, skip_bad: bool) -> dict[str, Any]:
    """What is stored with the records, as JSON gives it back."""
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
    """A hash of all files' names, sizes and times, by which a rebuild sees that one has changed.

    Folders are left out: they are among the arguments, and may be given relative to any folder.

    Raises:
      UserError: a file is missing, such as behind a broken link.
    """
    digest = hashlib.sha256()
    for split, pairs in sorted(plan.splits.items()):
        for pair in pairs:
            for file in pair.files:
                digest.update(json.dumps((split, pair.name, *status_of(file))).encode())
    return digest.hexdigest()


def _require_same(builds, folder: pathlib.Path, builder: SegmentationBuilder, dl_manager) -> None:
    """Raises a UserError unless the only build is the one in `folder`, made from the same files.

    Published files are not looked for again: they may have been removed since.
    """
    if [build.resolve() for build in builds] != [folder.resolve()]:
        raise UserError(f"{builds[0]}: another data set is there already; {_ELSEWHERE}")
    found = load_build(folder).info.metadata
    if builder.is_published:
        return
    for key, value in metadata_of(builder.plan(dl_manager), builder.skip_bad).items():
        if found.get(key) != value:
            how = "with other " + ("or changed files" if key == "sources" else key)
            raise UserError(f"{folder}: a data set built {how} is there already; {_ELSEWHERE}")


def stored_lists(folder: pathlib.Path, kind: str) -> dict[str, list[str]]:
    """The lists that lie beside the records.

    Args:
      folder: of the finished build.
      kind: "missing" or "left_out".

    Returns:
      The lines of every split's list; splits without one are left out.
    """
    return {
        path.stem.removeprefix(f"{kind}-"): path.read_text().splitlines()
        for path in sorted(folder.glob(f"{kind}-*.txt"))
    }
