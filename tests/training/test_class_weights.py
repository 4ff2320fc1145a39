import numpy as np
import pytest

from rnnseg import UserError
from rnnseg.training.class_weights import balanced_weights, read_class_weights

NAMES = ("road", "traffic sign", "pole")


def test_balanced_weights_grow_as_a_class_gets_rare_and_keep_the_mean():
    pixels = np.array([900, 90, 10, 0])
    weights = np.array(balanced_weights(pixels))
    assert (np.diff(weights) > 0).all() and np.isfinite(weights).all()
    assert (weights * pixels).sum() / pixels.sum() == pytest.approx(1)
    # The formula of Paszke et al., 2016, is without the root.
    assert weights[2] / weights[0] == pytest.approx(np.sqrt(np.log(1.92) / np.log(1.03)))


@pytest.mark.parametrize(
    "name, text",
    [
        ("w.json", '{"pole": 4, "traffic sign": 2.5}'),
        ("w.txt", "# rare ones\npole 4\n\ntraffic sign\t2.5  # two words\n"),
        ("w.csv", 'class,weight\npole, 4\n"traffic sign";2.5\n'),
        ("bom.csv", "\ufeffname,weight\r\npole,4\r\ntraffic sign,2.5\r\n"),
    ],
)
def test_files_give_the_weights_of_some_classes_and_others_weigh_one(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text.encode())
    assert read_class_weights(path, NAMES) == (1.0, 2.5, 4.0)


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("w.txt", "car 2", "line 1: unknown class 'car'; expected one of road, traffic sign"),
        ("w.txt", "pole 2\npole 3", "line 2: class 'pole' has a weight already"),
        ("w.txt", "pole", "line 1: 'pole': expected a name and a weight"),
        ("w.txt", "pole -1", "line 1: weight '-1': expected a number from 0 to 1e+06"),
        ("w.txt", "pole inf", "line 1: weight 'inf'"),
        ("w.txt", "pole nan", "line 1: weight 'nan'"),
        ("w.txt", "pole 1e300", "line 1: weight '1e300'"),
        ("w.txt", "pole ４", "line 1: weight '４'"),
        ("w.json", '{"pole": NaN}', "pole is nan, expected a finite number"),
        ("w.json", '{"pole": "4"}', 'pole is "4", expected a number'),
        ("w.json", '{"pole": -4}', "pole is -4, expected at least 0"),
        ("w.txt", "# nothing", "no class; expected lines of a name and a weight"),
        ("w.txt", "road 0\ntraffic sign 0\npole 0", "all are 0"),
        ("w.json", "{", "not valid JSON"),
        (
            "w.json",
            "[1, 2, 3]",
            "the content is [1, 2, 3], expected an object; expected weights by class name",
        ),
        ("w.json", '{"pole": true}', "pole is true, expected a number"),
        ("w.json", '{"pole": [1]}', "expected a number"),
        ("w.json", '{"pole": 1, "pole": 2}', "the key 'pole' is there twice"),
    ],
)
def test_faults_name_the_file_and_the_value(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UserError, match="class weights .*" + name) as error:
        read_class_weights(path, NAMES)
    assert message in str(error.value)


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(UserError, match="missing.csv: cannot be read .No such file"):
        read_class_weights(tmp_path / "missing.csv", NAMES)
    (tmp_path / "binary.csv").write_bytes(b"\xff\x00")
    with pytest.raises(UserError, match="binary.csv: no UTF-8 text"):
        read_class_weights(tmp_path / "binary.csv", NAMES)
