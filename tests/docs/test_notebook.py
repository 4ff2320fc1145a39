"""The notebook: executed from its first cell to its last, as CI's readers would."""

import itertools
import json
import os
import pathlib
import re

import numpy as np
import pytest
from PIL import Image

from tests.support.sources import halves

nbformat = pytest.importorskip("nbformat", reason="needs nbclient and ipykernel, of the extra dev")
nbclient = pytest.importorskip("nbclient", reason="needs nbclient and ipykernel, of the extra dev")
pytest.importorskip("ipykernel", reason="needs nbclient and ipykernel, of the extra dev")

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "docs" / "notebooks" / "first_curve.ipynb"
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


def test_it_is_kept_without_outputs(notebook):
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
