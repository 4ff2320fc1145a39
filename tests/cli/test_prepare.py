import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from rnnseg.cli import main
from tests.support.sources import halves


def run(*arguments, status=0):
    result = CliRunner().invoke(main, ["prepare", *map(str, arguments)])
    assert result.exit_code == status, result.output + repr(result.exception)
    return result.output


def test_help_lists_the_data_sets_and_loads_no_tensorflow():
    program = (
        "import sys; from rnnseg.cli import main\n"
        "try: main(['prepare', '--help'])\n"
        "finally: print('tensorflow' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr.split() == ["False"]
    for name in ("voc", "cityscapes", "coco", "folder", "to_model_garden"):
        assert any(line.split()[:1] == [name] for line in done.stdout.splitlines())


@pytest.mark.parametrize("name", ["voc", "cityscapes", "coco", "folder", "to_model_garden"])
def test_every_data_set_has_help(name):
    assert f"prepare {name} [OPTIONS]" in run(name, "--help")


def test_unknown_data_set_is_one_line():
    printed = run("nothing", status=2)
    assert printed == "error: No such command 'nothing'.\n"


def test_folder_is_built_and_read(tmp_path):
    for index, (image, label) in enumerate(halves(3)):
        for kind, pixels in (("images", image), ("masks", label)):
            (tmp_path / kind).mkdir(exist_ok=True)
            Image.fromarray(np.uint8(pixels)).save(tmp_path / kind / f"{index}.png")
    (tmp_path / "classes.txt").write_text("left\nright\ntop\n")
    folders = ["--images", tmp_path / "images", "--masks", tmp_path / "masks"]
    classes = ["--classes", tmp_path / "classes.txt", "--ignore", 255, "--processes", 1]
    printed = run("folder", *folders, *classes, "--out", tmp_path / "out")
    assert "train: 3 images" in printed and "3 classes: left, right, top" in printed
    assert "Already built, nothing to do" in run(
        "folder", *folders, *classes, "--out", tmp_path / "out"
    )
    wrong = run("folder", *folders[:2], *classes, "--out", tmp_path / "x", status=2)
    assert wrong == "error: Missing option '--masks'.\n"
