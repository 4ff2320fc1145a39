import keras
import pytest

from rnnseg import UserError
from rnnseg.models.loading import load_model
from tests.support.models import make_model


def test_a_run_s_folder_gives_its_best_model(tmp_path):
    model = make_model()
    model.save(tmp_path / "last.keras")
    assert load_model(tmp_path).num_classes == 4
    model = make_model(num_classes=3)
    model.save(tmp_path / "best.keras")
    assert load_model(tmp_path).num_classes == 3
    assert load_model(tmp_path / "last.keras").num_classes == 4


def test_what_is_no_model_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere.keras: no such model"):
        load_model(tmp_path / "nowhere.keras")
    with pytest.raises(UserError, match="holds no model"):
        load_model(tmp_path)
    (tmp_path / "best.keras").write_text("no model")
    with pytest.raises(UserError, match="best.keras cannot be loaded as a model: "):
        load_model(tmp_path)
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "other.keras")
    with pytest.raises(UserError, match="other.keras holds a Sequential; expected a segmenter"):
        load_model(tmp_path / "other.keras")
