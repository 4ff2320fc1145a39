"""The notebooks: executed from their first cell to their last, as CI's readers would."""

import itertools
import json
import os
import pathlib
import re
import shutil
import sys
import types

import numpy as np
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from PIL import Image

import rnnseg
from rnnseg.data.images import read_image
from rnnseg.pretrained.names import DEFAULT, open_preset
from tests.support.models import make_model
from tests.support.sources import halves

nbformat = pytest.importorskip("nbformat", reason="needs nbclient and ipykernel, of the extra dev")
nbclient = pytest.importorskip("nbclient", reason="needs nbclient and ipykernel, of the extra dev")
pytest.importorskip("ipykernel", reason="needs nbclient and ipykernel, of the extra dev")

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
NOTEBOOK, PRETRAINED = NOTEBOOKS
# Appended to the notebook, so that its numbers are read from its variables, not from its text.
REPORT = """
import json

pathlib.Path("found.json").write_text(
    json.dumps({"untrained": untrained.miou[0], "miou": list(evaluation.miou),
        "gmacs": list(evaluation.multiply_adds), "same": np.mean(answers[True] == answers[False])})
)
"""


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_are_kept_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None, cell.id


def execute(notebook, folder, monkeypatch):
    """Runs every cell in a folder; an error in any of them ends it."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    # The kernel "python3" of this environment, not one that the user has installed.
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    nbclient.NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(folder)}}
    ).execute()


def test_it_goes_from_a_folder_of_images_to_a_curve(notebook, tmp_path, monkeypatch):
    notebook.cells.append(nbformat.v4.new_code_cell(REPORT))
    execute(notebook, tmp_path, monkeypatch)

    found = json.loads((tmp_path / "found.json").read_text())
    first, trained = found["miou"][0], found["miou"][5]
    assert len(found["miou"]) == 12 and found["gmacs"] == sorted(set(found["gmacs"]))
    # A map of background alone, of four classes, has 20 %.
    assert found["untrained"] < 0.25 and trained > 0.5
    assert trained > first + 0.1  # iterations are worth something
    assert 0.9 < found["same"] < 1  # some images have stopped, where little changed

    cells = {cell.id: cell for cell in notebook.cells}
    for name, image in (
        ("inspect", "overlays.png"), ("evaluate", "curve.png"), ("strip", "iterations.png"),
    ):  # fmt: skip
        assert (tmp_path / image).is_file()
        assert any("image/png" in output.get("data", {}) for output in cells[name].outputs), name
    budget = "".join(output.get("text", "") for output in cells["budget"].outputs)
    assert re.search(r" G\n3 iterations\nbudget of 0\.\d+ G: one iteration on ", budget)
    parity = json.loads((tmp_path / "exported" / "mine" / "parity.json").read_text())
    assert not parity["missed"] and (tmp_path / "exported/mine/anytime_int8.tflite").is_file()


def test_it_takes_photographs_of_any_sizes(notebook, tmp_path, monkeypatch):
    """As it says: put into the four folders, without the cell that draws images.

    Without the export too, which takes longest and sees one size alone.
    """
    for split, count in (("train", 4), ("val", 3)):
        for index, size in zip(range(count), itertools.cycle(((70, 90), (66, 120)))):
            ((image, label),) = halves(1, *size, seed=10 * count + index)
            for kind, array in (("photos", image), ("labels", np.where(label == 255, 0, label))):
                path = tmp_path / kind / split / f"{index}.{'jpg' if kind == 'photos' else 'png'}"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(path)
    (tmp_path / "classes.txt").write_text("left\nright\ntop\n")
    notebook.cells = [cell for cell in notebook.cells if cell.id not in ("draw", "exported")]
    for cell in notebook.cells:
        cell.source = cell.source.replace("EPOCHS = 20", "EPOCHS = 1")
        cell.source = cell.source.replace("batch_size=8", "batch_size=4")
    execute(notebook, tmp_path, monkeypatch)
    settled = next(cell for cell in notebook.cells if cell.id == "settled")
    assert "of the pixels are the same" in "".join(each.text for each in settled.outputs)


# --- the notebook of the pretrained model ---


@pytest.fixture
def pretrained():
    return nbformat.read(PRETRAINED, as_version=4)


def printed(cell):
    return "".join(output.get("text", "") for output in cell.outputs)


def test_it_goes_from_a_photograph_to_a_file(pretrained, tmp_path, monkeypatch):
    """With a tiny preset, which has the scores of the package's own."""
    preset = tmp_path / "tiny"
    names = ("background", "road", "car")
    make_model(num_classes=3, class_names=names).save_to_preset(preset)
    shutil.copy(open_preset(DEFAULT).folder / "scores_val.json", preset)
    for cell in pretrained.cells:
        for text, smaller in (
            (f'PRESET = "{DEFAULT}"', 'PRESET = "tiny"'),
            ('{"train": 96, "val": 16}', '{"train": 8, "val": 2}'),
            ("CROP = 97", "CROP = 33"),
            ("EPOCHS = 5", "EPOCHS = 1"),
            ("limit=8", "limit=2"),
        ):
            cell.source = cell.source.replace(text, smaller)
    execute(pretrained, tmp_path, monkeypatch)

    cells = {cell.id: cell for cell in pretrained.cells}
    assert "the cat: 300x451" in printed(cells["photo"])
    costs = re.findall(r"^(\d+\.\d+) G: n = \d+, image x", printed(cells["segment"]), re.MULTILINE)
    assert len(costs) == 3 and sorted(map(float, costs)) == [float(cost) for cost in costs]
    for name in ("segment", "draw-curve"):
        assert any("image/png" in output.get("data", {}) for output in cells[name].outputs), name
    tuned = rnnseg.load_model(tmp_path / "mine.keras")
    assert tuned.names[0] == "background" and tuned.num_classes == 6
    assert re.search(r"before: \d+\.\d+ % at best", printed(cells["fit"]))
    assert re.search(r"\d+ iterations in \d+ ms: ", printed(cells["exported"]))
    assert (tmp_path / "exported" / "mine" / "anytime_int8.tflite").is_file()


def run_cell(notebook, name, **names):
    """Runs a cell in this process, and returns its variables and the magics that it called."""
    (source,) = [cell.source for cell in notebook.cells if cell.id == name]
    magics = []
    shell = types.SimpleNamespace(run_line_magic=lambda *words: magics.append(words))
    variables = {"get_ipython": lambda: shell, **names}
    exec(TransformerManager().transform_cell(source), variables)
    return variables, magics


def test_it_installs_the_package_where_it_is_missing(pretrained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not run_cell(pretrained, "install")[1]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    variables, magics = run_cell(pretrained, "install")
    assert magics == [("pip", 'install --quiet "{package}"')]
    assert variables["package"] == "rnnseg[data]"

    wheel = tmp_path / "rnnseg-0.1.0-py3-none-any.whl"
    wheel.touch()
    assert run_cell(pretrained, "install")[0]["package"] == f"{wheel}[data]"
    # numpy is imported here; what pip has installed is another version.
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0")
    with pytest.raises(SystemExit, match="numpy.*: restart the session"):
        run_cell(pretrained, "install")


def test_it_asks_for_a_photograph_in_colab_alone(pretrained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"sys": sys, "pathlib": pathlib, "rnnseg": rnnseg, "read_image": read_image}
    for uploaded, size in (({"mine.png": b""}, (40, 50, 3)), ({}, (300, 451, 3))):
        Image.new("RGB", (50, 40)).save("mine.png")  # Colab writes what is uploaded
        colab = types.ModuleType("google.colab")
        colab.files = types.SimpleNamespace(upload=lambda uploaded=uploaded: uploaded)
        monkeypatch.setitem(sys.modules, "google.colab", colab)
        variables, _ = run_cell(pretrained, "photo", **names)
        assert variables["image"].shape == size
