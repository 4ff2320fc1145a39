"""A page that segments in the browser: the files of `web/`, LiteRT.js and an exported file.

The page is static: any web server serves it, and nothing is loaded from elsewhere. LiteRT.js is not
part of this package. npm fetches it, in the version and with the checksums of
`web/package-lock.json`.
"""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from rnnseg.errors import UserError
from rnnseg.files import atomic_folder
from rnnseg.pretrained.names import is_preset, open_preset
from rnnseg.pretrained.preset import LITERT
from rnnseg.runtime.integrity import check_file
from rnnseg.runtime.model_info import ModelInfo

_MODEL = "model.tflite"
_CONFIG = "page.json"
_LITERT = "litert"

# What npm fetches by.
_PACKAGES = ("package.json", "package-lock.json")

# The files of LiteRT.js by their names in the page's folder `litert`. Browsers without relaxed SIMD
# load the "compat" ones.
_WASM = tuple(
    f"litert_wasm_{kind}internal.{ending}" for kind in ("", "compat_") for ending in ("js", "wasm")
)
_SCRIPTS = {
    "core.js": "@litertjs/core/dist/index.js",
    "wasm_utils.js": "@litertjs/wasm-utils/dist/index.js",
    **{name: f"@litertjs/core/wasm/{name}" for name in _WASM},
}

# Workers know no import maps, so that the one import of a package becomes that of a file.
_IMPORT = 'from "@litertjs/wasm-utils"', 'from "./wasm_utils.js"'
_CHANGED = "// LiteRT.js of Google LLC, Apache License 2.0; changed: the import of wasm_utils.js.\n"


def check_page(out: str | os.PathLike, overwrite: bool = False) -> None:
    """Checks that a page can be written, before anything that takes long.

    Args:
      out: the folder to write to.
      overwrite: True to replace an earlier page in it.

    Raises:
      UserError: `out` holds an earlier page that is not to be replaced, or anything else; or npm is
        not installed.
    """
    out = pathlib.Path(os.path.realpath(out))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not (out / _CONFIG).is_file() or not (out / _LITERT).is_dir():
            raise UserError(f"{out} already exists and is not a page: choose another --web")
        if not overwrite:
            raise UserError(
                f"{out} already exists: choose another --web, or replace it by --overwrite"
            )
        for path in sorted(out.rglob("*")):
            name = path.relative_to(out).as_posix()
            if name not in (_LITERT, *_names()):
                raise UserError(
                    f"{path} is not part of a page and would be lost: move it elsewhere, or "
                    "choose another --web"
                )
    _find_npm()


def write_page(
    model: str | os.PathLike, out: str | os.PathLike, overwrite: bool = False
) -> pathlib.Path:
    """Writes the page with a model.

    Args:
      model: an `anytime` LiteRT file for images of one size, or a preset that has one.
      out: the folder to write to, some 20 MB besides the model.
      overwrite: True to replace an earlier page in it, as a whole.

    Returns:
      The file of the model.

    Raises:
      UserError: another kind of file, a damaged one, one of `check_page`, or LiteRT.js cannot be
        fetched. Nothing is written then.
    """
    check_page(out, overwrite)
    path = pathlib.Path(open_preset(model).file(LITERT) if is_preset(model) else model)
    info = ModelInfo.load(path)
    if info.kind != "anytime":
        raise UserError(
            f"{path} runs all iterations in one call: expected anytime.tflite, which `rnnseg "
            "export` writes beside it"
        )
    if info.size is None:
        raise UserError(
            f"{path} takes images of any size, which LiteRT.js does not: export one size, such as "
            "--size 360x480"
        )
    check_file(path, info.sha256)
    with atomic_folder(out, overwrite) as folder:
        for each in _page_files():
            shutil.copyfile(each, folder / each.name)
        _fetch_litert_js(folder / _LITERT)
        shutil.copyfile(path, folder / _MODEL)
        config = {"model": _MODEL, "name": path.name}
        (folder / _CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        check_page(out, overwrite)  # what came meanwhile is not lost, either
    return path


def _source() -> pathlib.Path:
    """Returns the folder of the page's own files: in a checkout it lies beside `rnnseg`."""
    package = pathlib.Path(__file__).resolve().parents[1]
    installed = package / "web"
    return installed if installed.is_dir() else package.parent / "web"


def _page_files() -> list[pathlib.Path]:
    files = (each for each in sorted(_source().iterdir()) if each.is_file())
    return [each for each in files if each.name not in _PACKAGES]


def _names() -> set[str]:
    """Returns the names of all files of a page."""
    own = {each.name for each in _page_files()}
    return own | {_MODEL, _CONFIG} | {f"{_LITERT}/{name}" for name in _SCRIPTS}


def _find_npm() -> str:
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(
            "--web needs npm, which fetches LiteRT.js: install Node.js; or drop the .tflite file "
            "on a page that was written elsewhere"
        )
    return npm


def _fetch_litert_js(folder: pathlib.Path) -> None:
    """Fetches LiteRT.js into a new folder."""
    npm = _find_npm()
    with tempfile.TemporaryDirectory() as scratch:
        for name in _PACKAGES:
            shutil.copyfile(_source() / name, pathlib.Path(scratch, name))
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            reason = lines[0] if lines else f"exit status {done.returncode}"
            raise UserError(
                f"npm cannot fetch LiteRT.js ({reason}): connect to the network once, so that npm "
                "keeps it; or drop the .tflite file on a page that was written elsewhere"
            )
        folder.mkdir()
        for name, path in _SCRIPTS.items():
            shutil.copyfile(pathlib.Path(scratch, "node_modules", path), folder / name)
    core = folder / "core.js"
    text = core.read_text(encoding="utf-8").replace(*_IMPORT)
    core.write_text(_CHANGED + text, encoding="utf-8")  # the licence wants changes to be told
