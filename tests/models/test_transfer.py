import keras
import numpy as np
import pytest

from rnnseg.models.registry import MODELS
from rnnseg.models.transfer import transfer_weights
from tests.support.models import make_lively_model, make_model

OLD = ("road", "sky", "car", "tree")
NEW = ("sky", "boat", "tree", "sea", "road")


def images():
    return np.random.default_rng(0).integers(0, 256, (2, 33, 41, 3)).astype(np.uint8)


@pytest.mark.parametrize("hidden", [(6, 5), (6,), ()])
def test_classes_in_another_order_give_the_same_answers(hidden):
    old = make_lively_model(class_names=OLD, hidden_channels=hidden, increment_scale=2.0)
    order = (2, 0, 3, 1)
    names = [OLD[index] for index in order]
    new = make_model(class_names=names, hidden_channels=hidden, increment_scale=1.0,
                     learned_start=True)  # fmt: skip
    done = transfer_weights(old, new)
    assert not done.left and not done.new_classes and set(done.same_classes) == set(OLD)
    for iterations in (1, 3):
        mine, its = new(images(), iterations=iterations), old(images(), iterations=iterations)
        np.testing.assert_allclose(mine, np.asarray(its)[..., order], atol=1e-5)


def first_logits(model, name):
    """The logits of a class after the first iteration, which sees no canvas."""
    return np.asarray(model(images(), iterations=1))[..., model.names.index(name)]


def test_classes_of_the_same_name_keep_their_weights_and_others_are_new():
    old = make_model(class_names=OLD)
    new = type(old).from_model(old, class_names=NEW)
    fresh = make_model(num_classes=5, class_names=NEW)
    assert new.transfer.same_classes == ("sky", "tree", "road")
    assert new.transfer.new_classes == ("boat", "sea") and not new.transfer.left
    for name in new.transfer.same_classes:
        np.testing.assert_allclose(first_logits(new, name), first_logits(old, name), atol=1e-6)
    for name in new.transfer.new_classes:
        assert not np.allclose(first_logits(new, name), first_logits(fresh, name))
    text = str(new.transfer)
    assert text.endswith("classes kept: sky, tree, road; new: boat, sea")
    assert text.startswith("took encoder, gates of ")


@pytest.mark.parametrize("names", [("boat", "sea"), ("boat", "road"), ("road", "boat", "sea")])
def test_a_recurrent_model_of_mostly_new_classes_takes_the_encoder_alone(names):
    old = make_lively_model(class_names=OLD, increment_scale=2.0)
    new = type(old).from_model(old, class_names=names)
    assert new.transfer.taken == ("encoder",) and new.transfer.new_classes == names
    assert {"increment_scale", "cell_0", "gates of deepest"} <= set(new.transfer.left)
    np.testing.assert_array_equal(new.encode(images())["deepest"], old.encode(images())["deepest"])
    assert float(new.stack.increment_scale) == new.options.increment_scale


def test_the_old_model_and_the_new_one_share_no_weights():
    old = make_model(class_names=OLD)
    before = old.get_weights()
    new = type(old).from_model(old)
    assert new.class_names == OLD and new.options == old.options
    np.testing.assert_array_equal(new(images()), old(images()))
    new.set_weights([weight + 1 for weight in before])
    for weight, same in zip(old.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, same)


def test_parts_that_differ_are_left_as_new_and_named():
    old = make_model(class_names=OLD)
    new = type(old).from_model(old, hidden_channels=(6, 7), learned_start=True)
    assert new.transfer.left == ("initial state", "cell_1", "cell_2")
    assert {"encoder", "cell_0"} <= set(new.transfer.taken)
    assert "left as new: initial state, cell_1, cell_2" in str(new.transfer)
    other = make_model(encoder="mobilenet_v2_0.35", output_stride=16, class_names=OLD)
    done = transfer_weights(old, other)
    assert "encoder" in done.left and "cell_1" in done.taken


@pytest.mark.parametrize("kind", [name for name in MODELS if name != "recurrent"])
def test_other_models_keep_classes_by_name(kind):
    options = dict(encoder="small_cnn", encoder_weights=None, freeze_batch_norm=False)
    options |= dict(output_stride=8)
    if hasattr(MODELS[kind].options_type, "head_channels"):
        options["head_channels"] = 8
    if kind in ("lr_aspp", "deeplabv3_plus"):
        options["output_stride"] = 16
    old = MODELS[kind](4, class_names=OLD, **options)
    new = MODELS[kind].from_model(old, class_names=NEW)
    assert not new.transfer.left
    # Random fields add to all logits a number that depends on how many classes there are.
    found, expected = (first_logits(m, "sky") - first_logits(m, "road") for m in (new, old))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(expected).max() > 1e-3


def test_another_kind_of_model_takes_the_encoder():
    old = make_model(class_names=OLD)
    new = MODELS["deeplabv3"].from_model(old, head_channels=8)
    assert new.transfer.taken == ("encoder",) and set(new.transfer.left) == {"head", "classifier"}
    np.testing.assert_array_equal(new.encode(images())["deepest"], old.encode(images())["deepest"])


def test_an_encoder_of_one_s_own_is_copied():
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, strides=4, padding="same", name="first")(inputs)
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="second")(x)
    old = make_model(encoder=keras.Model(inputs, x), class_names=OLD)
    new = type(old).from_model(old, class_names=NEW)
    assert "encoder" in new.transfer.taken
    assert new.encoder.network is not old.encoder.network
    np.testing.assert_array_equal(new.encode(images())["deepest"], old.encode(images())["deepest"])
