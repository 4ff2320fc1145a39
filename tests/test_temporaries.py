import dataclasses
import os
import subprocess
import sys

import pytest

from rnnseg.temporaries import Owner, Temporary, remove_left_behind
from tests.support.killed import running

WRITERS = {
    "a file": "with files.atomic_path('out.mp4') as path: pause()",
    # Some writers put a new file in the place of the one that is locked.
    "a file anew": "with files.atomic_path('out.mp4') as path:"
    " path.unlink(); path.write_text('half'); pause()",
    "a folder": "with files.atomic_folder('out') as path: (path / 'half').touch(); pause()",
}


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_what_a_killed_process_left_is_removed_and_nothing_of_a_living_one(tmp_path, writer):
    (tmp_path / ".incomplete.txt").write_text("a file of the user")
    with running(f"from rnnseg import files\n{writer}", tmp_path) as process:
        hidden, kept = names(tmp_path)
        remove_left_behind(tmp_path)
        assert names(tmp_path) == [hidden, kept]
        process.kill()
        process.wait()
        assert names(tmp_path) == [hidden, kept]
        remove_left_behind(tmp_path)
        assert names(tmp_path) == [kept] == [".incomplete.txt"]


@pytest.mark.parametrize(
    "changed, stays",
    [
        ({"host": "01234567", "boot": "01234567"}, True),  # another machine's, on a network share
        ({"boot": "01234567"}, False),  # from before a restart of this machine
        ({"process": 2**22 + 1}, False),  # the process is gone
        ({"start": 1}, False),  # another process has its id now
        ({}, True),
    ],
)
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_only_what_is_certainly_left_is_removed(tmp_path, changed, stays, kind):
    owner = dataclasses.replace(Owner.this(), **changed)
    path = tmp_path / f".incomplete.{owner}.abc.png"
    path.mkdir() if kind == "folder" else path.touch()
    remove_left_behind(tmp_path)
    assert path.exists() == stays


def test_a_locked_file_of_a_process_that_is_not_seen_stays(tmp_path):
    """As of another container with the same folder."""
    temporary = Temporary(tmp_path, ".png")
    unseen = dataclasses.replace(Owner.this(), process=2**22 + 1)
    path = temporary.path.with_name(f".incomplete.{unseen}.abc.png")
    os.rename(temporary.path, path)
    remove_left_behind(tmp_path)
    assert path.exists()
    temporary.remove()
    remove_left_behind(tmp_path)
    assert not path.exists()


def test_a_process_and_its_children_are_different_owners():
    code = "from rnnseg.temporaries import Owner; print(Owner.this())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    host, boot, process, start = child.strip().split("-")
    this = Owner.this()
    assert (host, boot) == (this.host, this.boot) and int(process) != this.process
    assert int(start) >= this.start > 0


def test_a_folder_that_is_not_there_has_nothing_left(tmp_path):
    remove_left_behind(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []
