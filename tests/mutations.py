"""Breaks the code in 28 places, one at a time, and counts how often `make test` notices.

    python tests/mutations.py           # all, by `make mutations`: about half an hour on two cores
    python tests/mutations.py canvas    # those with a word in their name

Every fault goes into a temporary copy of the checkout. The tests that most likely notice it run
first; only if they all pass, the rest of `make test` runs. A fault that no test notices is a gap in
the tests.
"""

import dataclasses
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

CHECKOUT = pathlib.Path(__file__).resolve().parents[1]
PACKAGES = ("rnnseg", "data_prep")

# As in the Makefile.
_WORKERS = ("-n", "auto", "--maxprocesses", "4", "--dist", "loadfile", "--no-loadscope-reorder")
# A fault may make a test run for ever, which is noticed, too.
_LONGEST_SECONDS = 1800


@dataclasses.dataclass(frozen=True)
class Mutation:
    """One fault.

    Attributes:
      name: what is wrong.
      find: a text that is in a single place of the code.
      replace: what takes its place.
      likely: the files of tests that most likely notice it.
    """

    name: str
    find: str
    replace: str
    likely: tuple[str, ...]


MUTATIONS = (
    Mutation(
        "cell: input and forget gate exchanged",
        "        i, f, g, o = (\n",
        "        f, i, g, o = (\n",
        ("tests/models/test_conv_lstm.py",),
    ),
    Mutation(
        "cell: the forget gate's bias starts from zero",
        "keras.ops.ones((filters,), dtype)",
        "keras.ops.zeros((filters,), dtype)",
        ("tests/models/test_conv_lstm.py",),
    ),
    Mutation(
        "canvas: replaced instead of added to",
        "else canvas + increment, tuple(new_state)",
        "else increment, tuple(new_state)",
        ("tests/models/test_conv_lstm.py",),
    ),
    Mutation(
        "geometry: corners of the canvas are not aligned",
        "align_corners=True, half_pixel_centers=False",
        "align_corners=False, half_pixel_centers=False",
        ("tests/models/test_geometry.py",),
    ),
    Mutation(
        "encoder: images are padded with a colour that is not the mean",
        "pad_value = 0.0  # the mean colour",
        "pad_value = 1.0",
        ("tests/models/test_encoders.py",),
    ),
    Mutation(
        "encoder: dilation of output stride 8 is that of 16",
        "rate = stride_before[layer.name] // output_stride",
        "rate = min(2, stride_before[layer.name] // output_stride)",
        ("tests/models/test_encoders.py",),
    ),
    Mutation(
        "adaptive: pixels at borders stop as early as others",
        "tf.where(_amid(classes), lead, _AT_BORDER * lead)",
        "lead",
        ("tests/models/test_adaptive.py",),
    ),
    Mutation(
        "recomputation: the last rows have no gradient",
        "count = -(-rows // size)",
        "count = rows // size",
        ("tests/models/test_recomputation.py",),
    ),
    Mutation(
        "loss: ignored pixels count",
        "counts = tf.cast(counted, losses.dtype)",
        "counts = tf.ones_like(losses)",
        ("tests/training/test_losses.py",),
    ),
    Mutation(
        "fit: weights of classes in validation, too",
        "if training and self._class_weight is not None:",
        "if self._class_weight is not None:",
        ("tests/models/test_fitting.py",),
    ),
    Mutation(
        "transfer: classes by number, not by name",
        "names[start + index] = (name, number)",
        "names[start + index] = (index, number)",
        ("tests/models/test_transfer.py",),
    ),
    Mutation(
        "loss: weights of iterations in reverse",
        "for weight, logits in zip(weights, y_pred, strict=True)",
        "for weight, logits in zip(weights[::-1], y_pred, strict=True)",
        ("tests/models/test_recurrent.py",),
    ),
    Mutation(
        "training on patches: two corners exchanged",
        "[(0, 0), (0, 1), (1, 0), (1, 1)]",
        "[(0, 0), (1, 0), (0, 1), (1, 1)]",
        ("tests/training/test_sampling.py",),
    ),
    Mutation(
        "training: a resumed run sees the first epochs again",
        "tf.data.Dataset.range(first_epoch, epochs)",
        "tf.data.Dataset.range(epochs - first_epoch)",
        ("tests/data/test_pipeline.py", "tests/training/test_loop.py"),
    ),
    Mutation(
        "budget: one iteration less than it pays for",
        "fits, fails = 1, most + 1",
        "fits, fails = 1, most",
        ("tests/budgets/test_budget.py",),
    ),
    Mutation(
        "budget: iterations past the best one",
        "return max(best, trained) if best == max(miou) else best",
        "return max(best, trained)",
        ("tests/runtime/test_pacing.py", "tests/inference/test_predictor.py"),
    ),
    Mutation(
        "budget: a profile of another machine is taken",
        "if profile.machine != here:",
        "if False:",
        ("tests/inference/test_predictor.py",),
    ),
    Mutation(
        "scores: confusion matrix transposed",
        "return counts[:num_classes]\n",
        "return counts[:num_classes].T\n",
        ("tests/evaluation/test_metrics.py",),
    ),
    Mutation(
        "scores: large instances of Cityscapes weigh more",
        "weights = _SIZES[instances.classes] / instances.sizes",
        "weights = instances.sizes / _SIZES[instances.classes]",
        ("tests/evaluation/test_cityscapes.py",),
    ),
    Mutation(
        "data: 255 in the masks of other data sets is not ignored",
        "table[count : IGNORE_LABEL + 1] = np.arange(count, IGNORE_LABEL + 1)",
        "table[count:IGNORE_LABEL] = np.arange(count, IGNORE_LABEL)",
        ("tests/data/test_convert.py",),
    ),
    Mutation(
        "data: palette masks are read as grey",
        "values = np.asarray(mask).astype(np.uint16)",
        'values = np.asarray(mask.convert("L")).astype(np.uint16)',
        ("tests/data_prep/test_masks.py",),
    ),
    Mutation(
        "data: photographs lie on their side",
        "exchanged, down, right = _TURNS[orientation]",
        "exchanged, down, right = False, 1, 1",
        ("tests/data/test_images.py",),
    ),
    Mutation(
        "data: hidden colours of transparent images are trained on",
        "return png_bits(data) <= 8 and not png_has_alpha(data)",
        "return png_bits(data) <= 8",
        ("tests/data/test_metadata.py", "tests/data/test_decoding.py"),
    ),
    Mutation(
        "runtime: small images are scaled up",
        "scale = min([1, *ratios])",
        "scale = min(ratios, default=1)",
        ("tests/runtime/test_letterbox.py",),
    ),
    Mutation(
        "runtime: the deadline is looked at when it has passed",
        "if time.perf_counter() + self._ahead(call) > deadline:",
        "if time.perf_counter() > deadline:",
        ("tests/runtime/test_segmenter.py",),
    ),
    Mutation(
        "export: int8 is calibrated on the images that it is compared on",
        "from_source(source, run.train_split, size, limit)",
        "from_source(source, split, size, limit)",
        ("tests/exporting/test_examples.py",),
    ),
    Mutation(
        "video: what should be forgotten is kept",
        "self._keep = np.float32(1 - decay)",
        "self._keep = np.float32(decay)",
        ("tests/video/test_video_segmenter.py",),
    ),
    Mutation(
        "files: what fails half way takes the place of the whole file",
        "            yield temporary.path\n            _set_mode(temporary.path, 0o666)\n"
        "            os.replace(temporary.path, home / path.name)\n        finally:\n"
        "            temporary.remove()\n",
        "            yield temporary.path\n        finally:\n"
        "            os.replace(temporary.path, home / path.name)\n",
        ("tests/test_files.py",),
    ),
)


def find_place(mutation: Mutation, checkout: pathlib.Path) -> pathlib.Path:
    """Returns the one file that holds the text of a mutation.

    Raises:
      LookupError: none does, or the text is there more than once.
    """
    counts = {
        path: path.read_text(encoding="utf-8").count(mutation.find)
        for package in PACKAGES
        for path in sorted(checkout.glob(f"{package}/**/*.py"))
    }
    found = [path for path, count in counts.items() if count]
    if len(found) != 1 or counts[found[0]] != 1:
        raise LookupError(
            f"{mutation.name}: {mutation.find!r} is in {sum(counts.values())} places of "
            f"{'/ and '.join(PACKAGES)}/; expected a single one: adapt it to the code"
        )
    return found[0]


def likely_tests(mutation: Mutation, checkout: pathlib.Path) -> list[str]:
    """Returns those of the likely files of tests that are there."""
    return [path for path in mutation.likely if (checkout / path).is_file()]


def copy_checkout(target: pathlib.Path) -> None:
    """Copies all files that git knows or would take."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (CHECKOUT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(CHECKOUT / name, target / name)


def run_tests(checkout: pathlib.Path, *options: str) -> str | None:
    """Runs tests until the first one fails.

    Args:
      checkout: where they lie, with the code that they test.
      *options: for pytest.

    Returns:
      What failed; None: nothing.
    """
    environment = dict(os.environ, PYTHONPATH=str(checkout), TF_CPP_MIN_LOG_LEVEL="3")
    environment.setdefault("RNNSEG_TEST_DATA", str(CHECKOUT.parent / "shared" / "data"))
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *options]
    process = subprocess.Popen(
        command,
        cwd=checkout,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        printed, _ = process.communicate(timeout=_LONGEST_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return f"a test that ran for more than {_LONGEST_SECONDS} s"
    if process.returncode == 0:
        return None
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", printed, re.MULTILINE)
    if not failed:
        sys.exit(f"pytest ended with status {process.returncode} and no failed test:\n{printed}")
    return failed[1]


def rest_of_tests(checkout: pathlib.Path, passed: list[str]) -> list[str]:
    """Returns pytest's options for `make test` without the files that have passed."""
    command = [sys.executable, "tests/parts.py", "ignored"]
    printed = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True)
    return [*_WORKERS, *printed.stdout.split(), *(f"--ignore={path}" for path in passed)]


def notice(mutation: Mutation, checkout: pathlib.Path) -> str | None:
    """Returns the test that notices a fault in a copy of the checkout; None if none does."""
    place, likely = find_place(mutation, checkout), likely_tests(mutation, checkout)
    text = place.read_text(encoding="utf-8")
    place.write_text(text.replace(mutation.find, mutation.replace), encoding="utf-8")
    try:
        noticed = run_tests(checkout, *likely) if likely else None
        return noticed or run_tests(checkout, *rest_of_tests(checkout, likely))
    finally:
        place.write_text(text, encoding="utf-8")


def main(words: list[str]) -> None:
    """Prints a line for each mutation and the number of those that were noticed.

    Args:
      words: of the names of mutations; none: all mutations.
    """
    chosen = [each for each in MUTATIONS if not words or any(word in each.name for word in words)]
    with tempfile.TemporaryDirectory() as folder:
        checkout = pathlib.Path(folder, "checkout")
        copy_checkout(checkout)
        # A test that fails anyway would notice everything.
        likely = sorted({path for each in chosen for path in likely_tests(each, checkout)})
        failed = run_tests(checkout, *likely)
        if failed:
            sys.exit(f"{failed} fails without any fault: mend that first")
        count = 0
        print(f"{'fault':66s}{'seconds':>8s}  noticed by", flush=True)
        for each in chosen:
            start = time.monotonic()
            noticed = notice(each, checkout)
            count += noticed is not None
            seconds = time.monotonic() - start
            print(f"{each.name:66s}{seconds:8.0f}  {noticed or 'NOTHING'}", flush=True)
    print(f"{count} of {len(chosen)} noticed")


if __name__ == "__main__":
    main(sys.argv[1:])
