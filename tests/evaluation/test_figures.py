import numpy as np
from PIL import Image

from rnnseg.evaluation import figures

ORANGE, BLUE = (213, 94, 0), (0, 114, 178)


def count(path, color):
    pixels = np.asarray(Image.open(path).convert("RGB"))
    return int(np.all(pixels == color, axis=-1).sum())


def test_shares_of_a_confusion_matrix_are_those_of_its_rows():
    shares = figures.row_shares(np.array([[3, 1, 0], [0, 0, 0], [5, 0, 5]]))
    np.testing.assert_allclose(shares, [[75, 25, 0], [np.nan] * 3, [50, 0, 50]])


def test_a_confusion_matrix_is_dark_where_classes_are_found(tmp_path):
    names = ["$a_{", *(f"class {index}" for index in range(1, 21))]

    def dark(confusion):
        figures.save_confusion(tmp_path / "confusion.png", confusion, names)
        pixels = np.asarray(Image.open(tmp_path / "confusion.png").convert("L"))
        assert min(pixels.shape) > 1000  # of 21 classes every number can be read
        return (pixels < 80).mean()

    assert dark(np.eye(21, dtype=int)) > dark(np.ones((21, 21), int)) + 0.01


def test_of_many_classes_the_most_frequent_ones_have_rows(tmp_path):
    confusion = np.random.default_rng(0).integers(0, 100, (150, 150))
    confusion[[3, 140]] *= 1000
    names = [f"class {index}" for index in range(150)]
    fewer, shown = figures.with_fewer_classes(confusion, names)
    assert fewer.shape == (40, 40) and shown[-1] == "111 other classes"
    kept = [names.index(name) for name in shown[:-1]]
    assert kept == sorted(kept) and {3, 140} < set(kept)
    others = np.setdiff1d(range(150), kept)
    assert confusion[kept].sum(1).min() >= confusion[others].sum(1).max()
    np.testing.assert_array_equal(fewer[:-1, :-1], confusion[np.ix_(kept, kept)])
    assert fewer[-1, 0] == confusion[others, kept[0]].sum() and fewer.sum() == confusion.sum()
    assert figures.with_fewer_classes(confusion[:40, :40], names[:40])[0].shape == (40, 40)


def test_bars_are_as_long_as_the_iou(tmp_path):
    def blue(iou, earlier=None):
        figures.save_class_iou(tmp_path / "iou.png", ["a", "$b_{"], np.array(iou), 6, earlier)
        return count(tmp_path / "iou.png", BLUE)

    full = blue([1.0, 1.0])
    assert abs(blue([0.5, 0.5]) / full - 0.5) < 0.02
    assert abs(blue([1.0, np.nan]) / full - 0.5) < 0.02
    assert count(tmp_path / "iou.png", ORANGE) == 0
    blue([0.5, 0.5], (1, np.array([0.25, np.nan])))
    assert count(tmp_path / "iou.png", ORANGE) > 0


def test_a_training_of_one_epoch_and_of_an_earlier_version(tmp_path):
    row = {"epoch": "1", "loss": "2.5", "val_miou_1_iteration": "", "val_miou": ""}
    figures.save_training(tmp_path / "training.png", [row])
    assert count(tmp_path / "training.png", BLUE) > 0
    assert count(tmp_path / "training.png", ORANGE) == 0
    scores = {"val_loss": "2.1", "val_miou_1_iteration": "31.0", "val_miou": "42.5"}
    figures.save_training(tmp_path / "training.png", [row, row | {"epoch": "2"} | scores])
    assert count(tmp_path / "training.png", ORANGE) > 0
