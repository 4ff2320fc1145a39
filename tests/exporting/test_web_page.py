"""The folder of a page for browsers; what the page does, tests/web tests in a browser."""

import json
import pathlib
import shutil

import pytest
from click.testing import CliRunner

from rnnseg import UserError
from rnnseg.cli import main
from rnnseg.exporting import web_page
from tests.support.litert import make_info

WEB = pathlib.Path(__file__).resolve().parents[2] / "web"
MODEL = b"\0\0\0\0TFL3 as no other"


@pytest.fixture
def model(tmp_path):
    """A file whose metadata are right, and which nothing here runs."""
    path = tmp_path / "anytime_int8.tflite"
    path.write_bytes(make_info().append_to(MODEL))
    return path


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """An npm that installs what the page takes; its status and errors are in two files."""
    folder = tmp_path / "bin"
    folder.mkdir()
    files = " ".join(web_page._SCRIPTS.values())
    program = folder / "npm"
    program.write_text(
        "#!/bin/sh\n"
        f"cat {folder}/errors >&2 2> /dev/null && exit 1\n"
        "[ -f package-lock.json ] || exit 2\n"
        f"for name in {files}; do mkdir -p node_modules/$(dirname $name);\n"
        f"echo 'import {{x}} from \"@litertjs/wasm-utils\";' > node_modules/$name; done\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def run(*arguments, status=0):
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    assert result.exit_code == status, result.output
    return result.output


def test_a_page_has_all_that_it_needs_in_its_folder(model, npm, tmp_path):
    out = tmp_path / "page"
    assert "anytime_int8.tflite" in run("export", model, "--web", out)
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    own = {each.name for each in WEB.iterdir()} - {"package.json", "package-lock.json"}
    assert found == own | {"model.tflite", "page.json"} | {
        f"litert/{name}" for name in web_page._SCRIPTS
    }
    assert (out / "model.tflite").read_bytes() == model.read_bytes()
    config = json.loads((out / "page.json").read_text())
    assert config == {"model": "model.tflite", "name": "anytime_int8.tflite"}
    # Workers have no import maps.
    assert "@litertjs/wasm-utils" not in (out / "litert" / "core.js").read_text()
    assert (out / "LICENSE.txt").read_text().lstrip().startswith("Apache License")
    assert not (out / "LICENSE.txt").is_symlink()


def test_an_earlier_page_is_replaced_only_if_asked(model, npm, tmp_path):
    out = tmp_path / "page"
    web_page.write_page(model, out)
    assert "replace it by --overwrite" in run("export", model, "--web", out, status=2)
    model.write_bytes(make_info(iterations=3).append_to(MODEL))
    run("export", model, "--web", out, "--overwrite")
    assert (out / "model.tflite").read_bytes() == model.read_bytes()
    (out / "litert" / "mine.txt").touch()
    assert "would be lost" in run("export", model, "--web", out, "--overwrite", status=2)
    assert (out / "litert" / "mine.txt").exists()


def test_another_folder_is_left_as_it_is(model, npm, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "page.json").touch()
    printed = run("export", model, "--web", tmp_path / "photos", "--overwrite", status=2)
    assert "is not a page: choose another --web" in printed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "segment"}, "expected anytime.tflite"),
        ({"size": None}, "export one size"),
    ],
)
def test_files_that_the_page_cannot_run_are_refused(npm, tmp_path, options, message):
    path, out = tmp_path / "other.tflite", tmp_path / "page"
    path.write_bytes(make_info(**options).append_to(MODEL))
    with pytest.raises(UserError, match=message):
        web_page.write_page(path, out)
    assert not out.exists()


def test_a_damaged_file_is_refused(model, npm, tmp_path):
    data = model.read_bytes()
    model.write_bytes(data.replace(b"as no other", b"as an other"))
    with pytest.raises(UserError, match="is damaged"):
        web_page.write_page(model, tmp_path / "page")


def test_npm_is_needed(model, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    printed = run("export", model, "--web", tmp_path / "page", status=2)
    assert printed.startswith("error: --web needs npm") and printed.count("\n") == 1


def test_an_error_of_npm_is_told(model, npm, tmp_path):
    (npm / "errors").write_text("npm error code ENOTFOUND\nnpm error more\n")
    printed = run("export", model, "--web", tmp_path / "page", status=2)
    assert printed.startswith("error: npm cannot fetch LiteRT.js (npm error code ENOTFOUND)")
    assert printed.count("\n") == 1 and not (tmp_path / "page").exists()


def test_options_of_an_export_need_its_folder(model, npm, tmp_path):
    web = ("--web", tmp_path / "page")
    assert run("export", model, status=2).startswith("error: --out is missing")
    printed = run("export", model, *web, "--quantize", "int8", status=2)
    assert printed.startswith("error: --quantize without --out")
    printed = run("export", tmp_path, *web, status=2)
    assert f"{tmp_path} is no LiteRT file: give --out, too" in printed
    printed = run("export", model, *web, "--out", tmp_path / "out", "--size", "any", status=2)
    assert printed.startswith("error: --size any: ")
    assert not (tmp_path / "page").exists()


def test_the_version_of_litert_js_is_pinned():
    """And the lock file names no server, so that npm takes the one that it is set up for."""
    wanted = json.loads((WEB / "package.json").read_text())["dependencies"]
    locked = json.loads((WEB / "package-lock.json").read_text())["packages"]
    for name, version in wanted.items():
        assert locked[f"node_modules/{name}"]["version"] == version
    for name, package in locked.items():
        assert not name or (
            package["integrity"].startswith("sha512-") and "resolved" not in package
        )


def test_a_wheel_has_the_page_inside(tmp_path, monkeypatch):
    package = tmp_path / "rnnseg"
    shutil.copytree(WEB, package / "web")
    monkeypatch.setattr(web_page, "__file__", str(package / "exporting" / "web_page.py"))
    assert web_page._source() == package / "web"
