import contextlib
import os
import platform
import signal

import pytest

from rnnseg import UserError, locks
from rnnseg.locks import hold, hold_folder
from tests.support.killed import running


@contextlib.contextmanager
def _hold_here(folder):
    with hold(folder / "lock", folder / "out"):
        yield


@pytest.mark.parametrize(
    "code, path, take",
    [
        ("locks.hold('lock', 'out')", "out", _hold_here),
        ("locks.hold_folder('run')", "run", lambda folder: hold_folder(folder / "run")),
    ],
)
def test_one_process_at_a_time_holds_a_lock(tmp_path, code, path, take):
    with running(f"from rnnseg import locks\nwith {code}: pause()", tmp_path) as process:
        with pytest.raises(UserError) as told, take(tmp_path):
            pytest.fail("two processes hold the lock")
        assert str(told.value) == (
            f"{tmp_path / path} is being written by process {process.pid} on {platform.node()}: "
            "wait until it is done, end it, or choose another output"
        )
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert list(tmp_path.rglob("*lock"))  # left behind, but not in force
        with take(tmp_path):
            pass
    assert not list(tmp_path.rglob("*lock"))


def test_a_lock_is_held_by_one_of_several_parts_of_a_process(tmp_path):
    with hold_folder(tmp_path), pytest.raises(UserError, match="being written by process"):
        with hold_folder(tmp_path):
            pytest.fail("the lock is held twice")
    with hold_folder(tmp_path):
        pass


def test_a_lock_that_its_holder_removes_is_not_shared_by_those_who_wait(tmp_path, monkeypatch):
    """The file was opened before its removal, and is locked after it: it locks nothing then."""
    path = tmp_path / "lock"
    path.touch()
    opened, lock = [], locks.try_lock

    def remove_first(descriptor):
        opened.append(descriptor)
        if len(opened) == 1:
            os.unlink(path)
        return lock(descriptor)

    monkeypatch.setattr(locks, "try_lock", remove_first)
    with hold(path, "out"):
        assert len(opened) == 2 and path.read_text() == f"process {os.getpid()} on " + (
            platform.node()
        )


def test_a_folder_that_stays_empty_is_removed(tmp_path):
    with pytest.raises(RuntimeError), hold_folder(tmp_path / "a" / "b"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with hold_folder(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "file").touch()
    assert [each.name for each in (tmp_path / "a" / "b").iterdir()] == ["file"]
    (tmp_path / "there").mkdir()
    with hold_folder(tmp_path / "there"):
        pass
    assert (tmp_path / "there").is_dir()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    for name, message in (("file", "file is not a folder"), ("file/a", "a cannot be written")):
        with pytest.raises(UserError, match=message), hold_folder(tmp_path / name):
            pytest.fail("the work began")


@pytest.mark.parametrize("missing", ["locks of the file system", "locks of the system"])
def test_without_locks_a_warning_says_so(tmp_path, monkeypatch, caplog, missing):
    if missing == "locks of the system":
        monkeypatch.setattr(locks, "fcntl", None)
    else:
        error = OSError(locks.errno.ENOLCK, "No locks available")

        def fail(*_):
            raise error

        monkeypatch.setattr(locks.fcntl, "flock", fail)
    with hold_folder(tmp_path), hold_folder(tmp_path):
        pass
    assert f"{tmp_path}: no lock" in caplog.text and "no other process" in caplog.text
