"""The parts of the test suite that `make test` leaves out, and which of them a change needs.

    python tests/parts.py ignored    # pytest's options that leave all parts out
    python tests/parts.py changed    # the parts that the change under test needs

Git alone tells what the change under test is. The commit to compare with is

1. the merge base of HEAD and `origin/main`, on a branch or in a clone with commits of its own;
2. otherwise, as in a fresh clone of main, the newest commit of main that is at least two days
   older than HEAD. Nothing in a clone tells which commits came in together; those of one piece of
   work lie closer to one another than that. Earlier changes within the two days are tested again.

Files that are changed but not committed belong to the change. Every part runs where there is no
such commit (a shallow clone, a young repository), where git fails, where a file changed that all
tests depend on, and with `TEST_ALL=1` in the environment.
"""

import os
import pathlib
import subprocess
import sys

_CHECKOUT = pathlib.Path(__file__).resolve().parents[1]
_SECONDS = 2 * 24 * 60 * 60

# For each part the paths that it tests, beside its own.
PARTS = {
    "tests/docs": (
        "README.md",
        "data_prep",
        "docs",
        "experiments",
        "mkdocs.yml",
        "rnnseg",
        "tests/dashboard/chromium.py",
        "tests/video/clips.py",
    ),
    "tests/experiments": (
        "data_prep",
        "experiments",
        "rnnseg",
        "tests/evaluation/test_cityscapes.py",
        "tests/video/clips.py",
    ),
    "tests/demos": ("rnnseg", "tests/video/clips.py"),
    "tests/bulk": (
        "rnnseg/bulk",
        "rnnseg/data",
        "rnnseg/evaluation",
        "rnnseg/inference",
        "rnnseg/models",
    ),
    "tests/budgets/test_every_encoder.py": (
        "rnnseg/budgets",
        "rnnseg/models",
        "tests/models/test_encoders.py",
    ),
    "tests/fuzz": ("data_prep", "rnnseg", "tests/dashboard/logdirs.py", "tests/video/clips.py"),
    # Whole exports, of all kinds.
    "tests/exporting/test_export.py": ("rnnseg", "tests/exporting"),
    "tests/exporting/test_onnx.py": ("rnnseg", "tests/exporting"),
    "tests/inference/test_large_images.py": ("rnnseg",),
    "tests/cli/test_large_images.py": ("rnnseg", "tests/video/clips.py"),
    "tests/web": (
        "rnnseg/exporting",
        "rnnseg/pretrained",
        "rnnseg/runtime",
        "tests/dashboard/chromium.py",
        "web",
    ),
    "tests/models/baselines/test_heads.py": ("rnnseg/budgets", "rnnseg/models"),
    **{
        f"tests/models/baselines/{name}.py": (
            "rnnseg/budgets",
            "rnnseg/models",
            "tests/models/baselines/test_heads.py",
        )
        for name in ("test_crf", "test_sdn")
    },
    # Fresh processes, and all kinds of models through the commands.
    "tests/models/test_inspection.py": ("rnnseg/models",),
    "tests/models/test_registration.py": ("rnnseg",),
    "tests/models/test_registry.py": ("rnnseg",),
    "tests/scripts": ("rnnseg/models", "rnnseg/training/losses.py"),
    "tests/training/test_replicas.py": (
        "rnnseg/data",
        "rnnseg/models",
        "rnnseg/training",
        "tests/training/test_loop.py",
    ),
    # Six processes that train.
    "tests/training/test_several_workers.py": (
        "rnnseg/data",
        "rnnseg/evaluation",
        "rnnseg/models",
        "rnnseg/training",
        "tests/training/test_loop.py",
        "tests/training/test_replicas.py",
    ),
}

# A change of one of these may change the result of any test.
_SHARED = (
    ".ci",
    "Makefile",
    "constraints.txt",
    "pyproject.toml",
    "setup.cfg",
    "tests/conftest.py",
    "tests/parts.py",
    "tests/support",
)


def changed_parts(paths: list[str]) -> list[str]:
    """Returns the parts that a change of these files needs.

    Args:
      paths: of the changed files, relative to the checkout.
    """
    if any(_lies_in(path, _SHARED) for path in paths):
        return list(PARTS)
    return [
        part
        for part, tested in PARTS.items()
        if any(_lies_in(path, (part, *tested)) for path in paths)
    ]


def _lies_in(path: str, folders: tuple[str, ...]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def base_commit(checkout: pathlib.Path) -> str | None:
    """Returns the commit that the change under test started from; None if git does not tell."""
    head = _git(checkout, "rev-parse", "HEAD").strip()
    try:
        base = _git(checkout, "merge-base", "HEAD", "origin/main").strip()
    except subprocess.CalledProcessError:  # no such branch, or no common commit in a shallow clone
        base = head
    if base != head:
        return base
    lines = _git(checkout, "log", "--first-parent", "--format=%H %ct").splitlines()
    commits = [(commit, int(seconds)) for commit, seconds in (line.split() for line in lines)]
    newest = commits[0][1]
    return next((commit for commit, seconds in commits if seconds <= newest - _SECONDS), None)


def changed_paths(checkout: pathlib.Path, base: str) -> list[str]:
    """Returns the files that differ from a commit, deleted and new ones included."""
    changed = _git(checkout, "diff", "--name-only", "--no-renames", "-z", base)
    new = _git(checkout, "ls-files", "--others", "--exclude-standard", "-z")
    return [path for path in (changed + new).split("\0") if path]


def _git(checkout: pathlib.Path, *arguments: str) -> str:
    command = ["git", "-C", str(checkout), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def needed_parts(checkout: pathlib.Path = _CHECKOUT) -> tuple[list[str], str]:
    """Returns the parts that the change under test needs, and the reason."""
    if os.environ.get("TEST_ALL") == "1":
        return list(PARTS), "TEST_ALL=1"
    try:
        base = base_commit(checkout)
        if base is None:
            return list(PARTS), "no commit to compare with"
        return changed_parts(changed_paths(checkout, base)), f"changes since {base[:12]}"
    except (OSError, subprocess.CalledProcessError) as error:
        return list(PARTS), f"git cannot tell what changed ({error})"


def main() -> None:
    """Prints pytest's options or the parts, in one line."""
    if sys.argv[1:] == ["ignored"]:
        print(*(f"--ignore={part}" for part in PARTS))
    elif sys.argv[1:] == ["changed"]:
        parts, reason = needed_parts()
        print(f"{reason}: {' '.join(parts) or 'nothing'} beside make test", file=sys.stderr)
        print(*parts)
    else:
        sys.exit("usage: python tests/parts.py ignored|changed")


if __name__ == "__main__":
    main()
