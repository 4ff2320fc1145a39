"""Reads damaged inputs, one after the other, and prints what became of each.

    python -m tests.fuzz.child READER MATERIAL WORK FIRST

The input of number -1 is whole. A line with the number tells that an input is begun, a line of JSON
what became of it: `ok`, and else the `fault`.
"""

import contextlib
import io
import json
import os
import pathlib
import random
import resource
import shutil
import sys
import traceback

import av
from PIL import Image

from rnnseg.cli.base import Command
from rnnseg.errors import MOST_CHARACTERS
from tests.fuzz.damage import damage
from tests.fuzz.readers import READERS

_MOST_MEMORY = 24 << 30  # of addresses, most of which TensorFlow only reserves


def main(name: str, material: str, work: str, first: str) -> None:
    """Reads the inputs of a reader from a number on."""
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    reader = READERS[name]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what is printed goes elsewhere
    for number in range(int(first), reader.inputs):
        print(number, file=answers, flush=True)
        folder = pathlib.Path(work, "input")
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(pathlib.Path(material, reader.folder), folder)
        if number >= 0:
            prepare(reader, folder, random.Random(f"{name} {number}"))
        before = set(folder.rglob("*"))
        found = examine(reader, folder, pathlib.Path(work, "out"))
        new = [str(path.relative_to(work)) for path in set(folder.rglob("*")) - before]
        if new and not found.get("fault"):
            found["fault"] = f"left {new}"
        print(json.dumps(found), file=answers, flush=True)


def prepare(reader, folder: pathlib.Path, rng: random.Random) -> None:
    """Damages one of the files."""
    files = {path for pattern in reader.damaged for path in folder.glob(pattern) if path.is_file()}
    file = rng.choice(sorted(files))
    file.write_bytes(damage(file.read_bytes(), file.name, rng))


def examine(reader, folder: pathlib.Path, out: pathlib.Path) -> dict:
    """Reads an input as a command does, and checks how that ends."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            Command("read", callback=lambda: reader.read(folder, out)).main([])
        status = 0
    except SystemExit as error:
        status = error.code or 0
    except BaseException:
        return {"ok": False, "fault": traceback.format_exc()}
    text = printed.getvalue()
    last = (text.splitlines() or [""])[-1]
    fault = None
    if status not in (0, 2):
        fault = f"status {status}: {last}"
    elif "Traceback" in text:
        fault = text
    elif status == 2 and not last.startswith("error: "):
        fault = f"no error in the last line: {text[-500:]}"
    elif status == 2 and len(last) > MOST_CHARACTERS:
        fault = f"{len(last)} characters: {last}"
    else:
        fault = half_written(out)
    return {"ok": status == 0, "fault": fault, "message": last}


def half_written(out: pathlib.Path) -> str | None:
    """Returns what is wrong with the files of an output; None if they are all whole."""
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out)
        if path.name.startswith("."):
            return f"{name} was left"
        try:
            if path.suffix == ".png":
                with Image.open(path) as image:
                    image.load()
            elif path.suffix == ".mp4":
                with av.open(str(path)) as video:
                    assert sum(1 for _ in video.decode(video=0))
        except (OSError, SyntaxError, AssertionError) as error:
            return f"{name} is half written: {error}"
        if path.name.endswith("_classes.png"):
            beside = path.with_name(path.name.replace("_classes", "_overlay"))
            if not beside.is_file():
                return f"{name} without {beside.name}"
    return None


if __name__ == "__main__":
    main(*sys.argv[1:])
