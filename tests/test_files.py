import errno
import os
import stat
import subprocess
import sys

import pytest

from rnnseg import UserError, files
from rnnseg.files import atomic_folder, atomic_path, check_writable, remove_folder


def test_a_file_is_written_as_a_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "scores.json"
    with atomic_path(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists() and temporary.suffix == ".json"
    assert path.read_text() == "whole"
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("ha")
        raise RuntimeError
    assert path.read_text() == "whole" and list(path.parent.iterdir()) == [path]


def test_a_file_has_the_usual_permissions(tmp_path):
    (tmp_path / "plain").touch()
    with atomic_path(tmp_path / "ours") as temporary:
        temporary.touch()
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "ours")]
    assert modes[0] == modes[1]


def test_paths_that_cannot_be_written_are_named(tmp_path):
    check_writable(tmp_path / "new" / "a.png", ".png")
    assert list((tmp_path / "new").iterdir()) == []
    with pytest.raises(UserError, match="is a folder"):
        check_writable(tmp_path)
    with pytest.raises(UserError, match="a.jpg: expected a file name that ends in .png"):
        check_writable(tmp_path / "a.jpg", ".png")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        check_writable(tmp_path / "file" / "a.png")


def test_a_folder_is_written_as_a_whole_or_not_at_all(tmp_path):
    path = tmp_path / "above" / "folder"
    with pytest.raises(RuntimeError), atomic_folder(path) as folder:
        (folder / "half").touch()
        raise RuntimeError
    assert list(path.parent.iterdir()) == []
    with atomic_folder(path) as folder:
        assert not path.exists() and folder.parent == path.parent
        (folder / "whole").touch()
    assert [each.name for each in path.parent.iterdir()] == ["folder"]
    assert [each.name for each in path.iterdir()] == ["whole"]
    (tmp_path / "usual").mkdir()
    assert path.stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_an_empty_folder_behind_a_link_is_filled(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    with atomic_folder(tmp_path / "link") as folder:
        (folder / "whole").touch()
    assert [each.name for each in (tmp_path / "folder").iterdir()] == ["whole"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["folder", "link"]


@pytest.mark.parametrize(
    "call, error", [("replace", errno.EBUSY), ("mkdir", errno.EACCES), ("mkdir", errno.EROFS)]
)
def test_a_folder_that_cannot_be_replaced_is_reported_before_any_work(
    tmp_path, monkeypatch, call, error
):
    """It is a mount point, such as a container's volume, or the folder above is not writable."""
    (tmp_path / "out").mkdir()

    def fail(path, *args, **options):
        raise OSError(error, os.strerror(error), path)

    monkeypatch.setattr(files.os, call, fail)
    with pytest.raises(UserError) as told, atomic_folder(tmp_path / "out"):
        pytest.fail("the work began")
    assert str(told.value) == (
        f"{tmp_path}/out cannot be replaced as a whole ({os.strerror(error)}): choose a new folder "
        f"in it, such as {tmp_path}/out/new"
    )
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_cannot_be_created_is_reported_before_any_work(tmp_path):
    (tmp_path / "file").touch()
    for name, message in (("file", "is not a folder"), ("file/out", "out cannot be written: ")):
        with pytest.raises(UserError, match=message), atomic_folder(tmp_path / name):
            pytest.fail("the work began")


def test_only_regular_files_are_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="pipe is not a regular file; expected a file to write"):
        check_writable(tmp_path / "pipe")
    with pytest.raises(UserError, match="is not a regular file"), atomic_path(tmp_path / "pipe"):
        pytest.fail("the work began")
    with pytest.raises(UserError, match="pipe is not a folder"), atomic_folder(tmp_path / "pipe"):
        pytest.fail("the work began")
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize(
    "write, name",
    [
        ("with files.atomic_path(out) as path: path.write_bytes(bytes(5000))", "out"),
        ("with files.atomic_folder(out) as path: (path / 'a').write_bytes(bytes(5000))", "out"),
        # Nested, as the frames of a video are written.
        (
            "with files.atomic_folder(out) as folder, files.atomic_path(folder / 'a') as path:"
            " path.write_bytes(bytes(5000))",
            "out",
        ),
        ("with files.atomic_folder(out) as path: (path / 'b' / 'a').touch()", "out"),
        ("with files.atomic_folder(out): open('no such input')", "no such input"),
    ],
)
def test_errors_of_writing_name_the_path_that_the_user_gave(tmp_path, write, name):
    code = (
        "import resource, signal; from rnnseg import files; out = 'out'\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        f"try:\n    {write}\nexcept OSError as error: print(error.filename, error.strerror)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    reason = "File too large" if "5000" in write else "No such file or directory"
    assert done.stdout.splitlines() == [f"{name} {reason}"], done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_a_folder_without_write_permission_is_named(tmp_path, monkeypatch):
    def fail(*args, dir, prefix, **options):
        raise PermissionError(errno.EACCES, "Permission denied", f"{dir}/{prefix}x7")

    monkeypatch.setattr(files.tempfile, "mkstemp", fail)
    with pytest.raises(PermissionError) as told, atomic_path(tmp_path / "a.json"):
        pytest.fail("the work began")
    assert told.value.filename == f"{tmp_path}/a.json"


def test_a_removed_folder_leaves_nothing_behind(tmp_path):
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "folder" / "inner" / "file").touch()
    remove_folder(tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def exchanges(tmp_path_factory):
    """True if the file system of the tests can exchange two folders."""
    folders = [tmp_path_factory.mktemp(name) for name in ("one", "other")]
    return files._exchange(*folders)


def test_a_replaced_folder_is_there_at_every_moment(tmp_path, exchanges):
    """One process replaces a folder again and again, while this one looks at it."""
    if not exchanges:
        pytest.skip("this file system cannot exchange folders")
    code = (
        "from rnnseg import files\nfor index in range(40):\n"
        "    with files.atomic_folder('out', replace=True) as path:\n"
        "        (path / 'number').write_text(str(index))\n"
    )
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "number").write_text("-1")
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
    looks = 0
    while process.poll() is None:
        assert os.path.isdir(tmp_path / "out")
        looks += 1
    assert process.returncode == 0 and looks > 100
    assert [each.name for each in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "number").read_text() == "39"


@pytest.mark.parametrize(
    "kill, exchange, held, recovered",
    [
        # Right before the new folder takes the place of the old one, and right after.
        ("files._set_mode", True, "old", "old"),
        ("shutil.rmtree", True, "new", "new"),
        # Without an exchange, there is a moment with neither of them.
        ("shutil.rmtree", False, "new", "new"),
        ("new", False, None, "old"),
    ],
)
def test_a_process_that_is_killed_while_it_replaces_a_folder(
    tmp_path, exchanges, kill, exchange, held, recovered
):
    if exchange and not exchanges:
        pytest.skip("this file system cannot exchange folders")
    code = (
        "import os, shutil; from rnnseg import files\n"
        f"if not {exchange}: files._exchange = lambda one, other: False\n"
        "def die(*_, **__): os.kill(os.getpid(), 9)\n"
        "rename = os.rename\n"
        "def only_aside(old, new): die() if new.name == 'out' else rename(old, new)\n"
        "with files.atomic_folder('out', replace=True) as path:\n"
        "    (path / 'content').write_text('new')\n"
        f"    {'os.rename = only_aside' if kill == 'new' else f'{kill} = die'}\n"
    )
    out = tmp_path / "out"
    out.mkdir()
    (out / "content").write_text("old")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path)
    assert done.returncode == -9
    assert ((out / "content").read_text() if out.exists() else None) == held
    files.remove_left_behind(tmp_path)
    assert (out / "content").read_text() == recovered
    with atomic_folder(out, replace=True) as folder:
        (folder / "content").write_text("newer")
    assert [each.name for each in tmp_path.iterdir()] == ["out"]
    assert (out / "content").read_text() == "newer"


def test_a_folder_with_contents_is_replaced_only_where_that_is_wanted(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kept").touch()
    with pytest.raises(OSError, match="not empty"), atomic_folder(tmp_path / "out") as folder:
        (folder / "new").touch()
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["kept"]
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


def test_one_process_at_a_time_writes_a_folder(tmp_path):
    (tmp_path / "link").symlink_to("out")
    with atomic_folder(tmp_path / "out"):
        for name in ("out", "link"):
            with pytest.raises(UserError, match=f"{name} is being written by process"):
                with atomic_folder(tmp_path / name):
                    pytest.fail("the work began")


def test_a_long_name_leaves_room_for_the_temporary_one(tmp_path):
    path = tmp_path / f"{'ä' * 125}.png"
    with atomic_path(path) as temporary:
        temporary.touch()
    assert path.is_file()
