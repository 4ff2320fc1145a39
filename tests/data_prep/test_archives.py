import io
import os
import pathlib
import pickle
import shutil
import tarfile
import zipfile

import numpy as np
import pytest

from data_prep.archives import list_files, status_of
from rnnseg.errors import UserError

CONTENTS = {
    "kit/lists/train.txt": b"a\nb\n",
    "kit/images/a.jpg": np.random.default_rng(0).bytes(3000),
    "kit/images/b.jpg": np.random.default_rng(1).bytes(512),
    "kit/empty": b"",
}
KINDS = ("folder", "zip", "deflated.zip", "tar", "tgz", "tar.xz", "tar_without_ending")


def _save(root, kind, contents=CONTENTS):
    """Writes the contents as a folder or an archive, in an order that is not alphabetical."""
    path = root / f"data.{kind}" if "." not in kind else root / kind
    files = sorted(contents.items(), reverse=True)
    if kind == "folder":
        for name, data in files:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
    elif kind.endswith("zip"):
        method = zipfile.ZIP_DEFLATED if "deflated" in kind else zipfile.ZIP_STORED
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.mkdir("kit") if hasattr(archive, "mkdir") else archive.writestr("kit/", b"")
            for name, data in files:
                archive.writestr(name, data)
    else:
        mode = {"tgz": "w:gz", "tar.xz": "w:xz"}.get(kind, "w")
        if kind == "tar_without_ending":
            path = root / "data"
        with tarfile.open(path, mode) as archive:
            archive.add(root, "kit", recursive=False)
            for name, data in files:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_folders_and_archives_have_the_same_files(tmp_path, kind):
    path = _save(tmp_path, kind)
    files = list_files(path)
    assert list(files) == sorted(CONTENTS)
    for name, file in files.items():
        assert file.read_bytes() == CONTENTS[name]
        assert str(file) == f"{path}/{name}"
        sent = pickle.loads(pickle.dumps(file))
        assert sent == file and sent.read_bytes() == CONTENTS[name]
    assert list(list_files(path, r"\.jpg$")) == ["kit/images/a.jpg", "kit/images/b.jpg"]


def test_links_and_hidden_files_of_folders(tmp_path):
    path = _save(tmp_path, "folder")
    (path / ".hidden").mkdir()
    (path / ".hidden" / "x").write_bytes(b"")
    (path / "kit" / ".DS_Store").write_bytes(b"")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "y").write_bytes(b"y")
    (path / "linked").symlink_to(tmp_path / "elsewhere")
    assert sorted(list_files(path)) == sorted([*CONTENTS, "linked/y"])


def test_links_back_to_a_folder_above_are_not_followed(tmp_path):
    path = _save(tmp_path, "folder")
    (path / "kit" / "self").symlink_to(".")
    (path / "kit" / "lists" / "up").symlink_to(tmp_path)
    (path / "kit" / "loop").symlink_to("loop")
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"in_{name}").write_bytes(b"")
        (tmp_path / name / "other").symlink_to(tmp_path / other)
    (path / "linked").symlink_to(tmp_path / "a")
    files = ["linked/in_a", "linked/other/in_b"]
    # A link to itself is no folder: an unreadable file.
    assert sorted(list_files(path)) == sorted([*CONTENTS, "kit/loop", *files])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "folder"])
@pytest.mark.parametrize("kept", [0.2, 0.35])
def test_truncated_archives(tmp_path, kind, kept):
    path = _save(tmp_path, kind)
    os.truncate(path, int(path.stat().st_size * kept))
    with pytest.raises(UserError) as error:
        for file in list_files(path).values():
            file.read_bytes()
    assert str(error.value).startswith(str(path))
    assert "download it again" in str(error.value)


def test_a_tar_cut_between_two_files(tmp_path):
    path = _save(tmp_path, "tar")
    with tarfile.open(path) as archive:
        last = archive.getmembers()[-1]
    os.truncate(path, last.offset)
    with pytest.raises(UserError, match="its end is missing"):
        list_files(path)


def test_damage_inside_a_zip(tmp_path):
    path = _save(tmp_path, "zip")
    data = bytearray(path.read_bytes())
    start = data.index(CONTENTS["kit/images/a.jpg"][:50])
    data[start + 100] ^= 255
    path.write_bytes(data)
    file = list_files(path)["kit/images/a.jpg"]
    with pytest.raises(UserError, match=r"zip/kit/images/a\.jpg: truncated or damaged .*CRC"):
        file.read_bytes()


@pytest.mark.parametrize("kind", ["zip", "tar", "tgz"])
@pytest.mark.parametrize("name", ["../outside.txt", "kit/../../outside.txt", "/outside.txt"])
def test_names_that_lead_out_of_the_archive(tmp_path, kind, name):
    path = _save(tmp_path, kind, {**CONTENTS, name: b"bad"})
    with pytest.raises(UserError) as error:
        list_files(path)
    assert str(path) in str(error.value) and name in str(error.value)
    assert "leads out of the archive" in str(error.value)
    assert sorted(each.name for each in tmp_path.iterdir()) == [path.name]


def test_links_in_tars_are_not_followed(tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    path = _save(tmp_path, "tar")
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("kit/images/c.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
        archive.addfile(link)
    assert list(list_files(path)) == sorted(CONTENTS)


def test_files_that_are_not_archives(tmp_path):
    with pytest.raises(UserError, match="no such file or folder"):
        list_files(tmp_path / "missing.zip")
    for name in ("text", "text.zip", "text.tar"):
        (tmp_path / name).write_text("not an archive at all")
        with pytest.raises(UserError, match="truncated or damaged"):
            list_files(tmp_path / name)


def test_status_changes_with_the_file(tmp_path):
    folder, archive = _save(tmp_path, "folder"), _save(tmp_path, "zip")
    for path in (folder, archive):
        file = list_files(path)["kit/images/a.jpg"]
        before = status_of(file)
        assert before == status_of(list_files(path)["kit/images/a.jpg"])
        os.utime(path / "kit/images/a.jpg" if path == folder else path, (1, 1))
        assert status_of(file) != before
    file = list_files(folder)["kit/empty"]
    shutil.rmtree(folder)
    with pytest.raises(UserError, match="cannot be read"):
        status_of(file)


def test_a_replaced_zip_is_read_again(tmp_path):
    path = _save(tmp_path, "zip")
    assert list_files(path)["kit/lists/train.txt"].read_bytes() == b"a\nb\n"
    _save(tmp_path, "zip", {"kit/lists/train.txt": b"other"})
    os.utime(path, (1, 1))
    assert list_files(path)["kit/lists/train.txt"].read_bytes() == b"other"


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "tgz"])
def test_hidden_files_are_left_out(tmp_path, kind):
    root = tmp_path / "data"
    for name in ("a/x.jpg", "a/._x.jpg", "__MACOSX/a/._x.jpg", ".cache/x.jpg", ".DS_Store"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    path = root
    if kind != "folder":
        archive_format = {"zip": "zip", "tar": "tar", "tgz": "gztar"}[kind]
        path = pathlib.Path(shutil.make_archive(str(tmp_path / "made"), archive_format, root))
    assert list(list_files(path)) == ["a/x.jpg"]
    assert list_files(path)["a/x.jpg"].read_bytes() == b"x"
