import stat

import pytest

from rnnseg import UserError
from rnnseg.files import atomic_folder, atomic_path, check_writable, remove_folder


def test_the_file_is_whole_or_not_there(tmp_path):
    path = tmp_path / "new" / "scores.json"
    with atomic_path(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists() and temporary.suffix == ".json"
    assert path.read_text() == "whole"
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("ha")
        raise RuntimeError
    assert path.read_text() == "whole" and list(path.parent.iterdir()) == [path]


def test_others_may_read_what_they_could_read_anyway(tmp_path):
    (tmp_path / "plain").touch()
    with atomic_path(tmp_path / "ours") as temporary:
        temporary.touch()
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "ours")]
    assert modes[0] == modes[1]


def test_what_cannot_be_written_is_named(tmp_path):
    check_writable(tmp_path / "new" / "a.png", ".png")
    assert list((tmp_path / "new").iterdir()) == []
    with pytest.raises(UserError, match="is a folder"):
        check_writable(tmp_path)
    with pytest.raises(UserError, match="a.jpg: expected a file name that ends in .png"):
        check_writable(tmp_path / "a.jpg", ".png")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        check_writable(tmp_path / "file" / "a.png")


def test_a_folder_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "above" / "folder"
    with pytest.raises(RuntimeError), atomic_folder(path) as folder:
        (folder / "half").touch()
        raise RuntimeError
    assert list(path.parent.iterdir()) == []
    left = path.parent / ".folder.incomplete.of_a_killed_process"
    left.mkdir()
    with atomic_folder(path) as folder:
        assert not path.exists() and folder.parent == path.parent
        (folder / "whole").touch()
    assert [each.name for each in path.parent.iterdir()] == ["folder"]
    assert [each.name for each in path.iterdir()] == ["whole"]
    (tmp_path / "usual").mkdir()
    assert path.stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_removed_folder_leaves_nothing_behind(tmp_path):
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "folder" / "inner" / "file").touch()
    remove_folder(tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []
