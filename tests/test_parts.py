"""Which tests `make test` leaves out, and when `.ci/run` runs them all the same."""

import os
import subprocess
import sys

import pytest

from tests import parts
from tests.support.imports import CHECKOUT, find_modules, imported_modules

DAY = 24 * 60 * 60


class Repository:
    """A small repository whose commits have chosen times."""

    def __init__(self, folder):
        self.folder = folder
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments, seconds=0):
        date = f"@{1_700_000_000 + seconds} +0000"
        names = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com"}
        names |= {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.com"}
        environment = os.environ | names | {"GIT_COMMITTER_DATE": date, "GIT_AUTHOR_DATE": date}
        command = ["git", "-C", str(self.folder), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(self, path, seconds):
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(seconds))
        self.git("add", "-A")
        self.git("commit", "-q", "-m", path, seconds=seconds)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.delenv("TEST_ALL", raising=False)
    return Repository(tmp_path)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ([], []),
        (["tests/models/test_adaptive.py", "LICENSE"], []),
        (["docs/video.md"], ["tests/docs"]),
        (["tests/docs/test_site.py"], ["tests/docs"]),
        (["README.md"], ["tests/docs"]),
        (["tests/demos/test_drawn.py"], ["tests/demos"]),
        (["experiments/video.py"], ["tests/docs", "tests/experiments"]),
        (
            ["tests/training/test_loop.py"],
            ["tests/training/test_replicas.py", "tests/training/test_several_workers.py"],
        ),
        (["docs_of_others/a.md"], []),
        (["docs/video.md", "constraints.txt"], list(parts.PARTS)),
        (["tests/support/models.py"], list(parts.PARTS)),
    ],
)
def test_a_change_needs_the_parts_that_test_it(paths, expected):
    assert parts.changed_parts(paths) == expected


def test_all_paths_are_there():
    for part, tested in parts.PARTS.items():
        for path in (part, *tested):
            assert (CHECKOUT / path).exists(), path


@pytest.mark.parametrize("part", parts.PARTS)
def test_whatever_the_tests_of_a_part_import_is_among_its_paths(part):
    modules = find_modules("rnnseg", "data_prep", "experiments", "tests")
    tests = [CHECKOUT / part] if part.endswith(".py") else sorted((CHECKOUT / part).rglob("*.py"))
    assert tests
    for test in tests:
        for module in imported_modules(test, modules) - {"rnnseg", "tests", "tests.parts"}:
            path = str(modules[module].relative_to(CHECKOUT))
            assert part in parts.changed_parts([path]), f"{test.name} imports {module}"


def test_pytest_leaves_the_parts_out():
    command = [sys.executable, str(CHECKOUT / "tests" / "parts.py"), "ignored"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.split() == [f"--ignore={part}" for part in parts.PARTS]


def test_in_a_fresh_clone_the_last_two_days_are_the_change(repository):
    repository.commit("README.md", 0)
    old = repository.commit("experiments/a.py", DAY)
    repository.commit("docs/a.md", 2 * DAY)
    repository.commit("docs/b.md", 3 * DAY)
    assert parts.base_commit(repository.folder) == old
    assert parts.changed_paths(repository.folder, old) == ["docs/a.md", "docs/b.md"]
    assert parts.needed_parts(repository.folder)[0] == ["tests/docs"]


def test_on_a_branch_the_change_starts_where_it_left_main(repository):
    main = repository.commit("docs/a.md", 0)
    repository.git("update-ref", "refs/remotes/origin/main", main)
    repository.commit("experiments/a.py", 1)
    assert parts.base_commit(repository.folder) == main
    repository.commit("experiments/b.py", 5 * DAY)
    assert parts.base_commit(repository.folder) == main


def test_deleted_moved_and_new_files_count(repository):
    repository.commit("docs/a.md", 0)
    repository.commit("experiments/a.py", 0)
    base = repository.commit("tests/a.py", 0)
    repository.commit("LICENSE", 3 * DAY)
    (repository.folder / "docs" / "a.md").rename(repository.folder / "a.md")
    (repository.folder / "experiments" / "ä b.py").write_text("")
    found = parts.changed_paths(repository.folder, base)
    assert sorted(found) == ["LICENSE", "a.md", "docs/a.md", "experiments/ä b.py"]


def test_every_part_runs_where_git_cannot_tell(repository, tmp_path_factory, monkeypatch):
    assert parts.needed_parts(repository.folder)[0] == list(parts.PARTS)  # no commit yet
    repository.commit("LICENSE", 0)
    repository.commit("docs/a.md", DAY)
    assert parts.needed_parts(repository.folder) == (list(parts.PARTS), "no commit to compare with")
    nowhere = tmp_path_factory.mktemp("no_repository")
    assert parts.needed_parts(nowhere)[0] == list(parts.PARTS)
    repository.commit("LICENSE", 5 * DAY)
    assert parts.needed_parts(repository.folder)[0] == []
    monkeypatch.setenv("TEST_ALL", "1")
    assert parts.needed_parts(repository.folder) == (list(parts.PARTS), "TEST_ALL=1")
