import numpy as np
from PIL import Image

from rnnseg.data.inspection import inspect
from tests.support.sources import halves, make_source


def test_what_is_printed_of_a_data_set(tmp_path, capsys):
    """Sizes are HEIGHTxWIDTH, as all options have them, and columns of shares are in percent."""
    examples = [*halves(2, 40, 48), *halves(1, 33, 60)]
    inspect(make_source({"val": examples, "test": halves(1)}), ["val", "test"], tmp_path / "a.png")
    printed = capsys.readouterr().out
    assert "val: 3 images, 33-40 high, 48-60 wide, most often 40x48 (2); " in printed
    assert "test: 1 images, 40x48; " in printed
    lines = [line.split() for line in printed.splitlines()]
    assert ["pixels", "%", "images", "pixels", "%", "images"] in lines
    labels = np.concatenate([label.ravel() for _, label in examples])
    for index, name in enumerate(("left", "right", "top")):
        share = 100 * np.mean(labels[labels != 255] == index)
        (row,) = [line for line in lines if line[:2] == [str(index), name]]
        assert row[2:4] == [f"{share:.2f}", "3"]
    assert Image.open(tmp_path / "a.png").width > 1000
