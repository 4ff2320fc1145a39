import dataclasses
import inspect

import pytest

from rnnseg import UserError
from rnnseg.models.options import MODEL_OPTIONS, RecurrentOptions
from rnnseg.models.registry import MODELS
from rnnseg.options import declaration
from rnnseg.training.config import TrainingConfig


def test_every_model_has_options():
    assert MODEL_OPTIONS.keys() == MODELS.keys()


@pytest.mark.parametrize("name", MODEL_OPTIONS)
def test_constructors_have_the_declared_defaults(name):
    parameters = inspect.signature(MODELS[name]).parameters
    for field in dataclasses.fields(MODEL_OPTIONS[name]):
        assert parameters[field.name].default == field.default
        assert parameters[field.name].kind is inspect.Parameter.KEYWORD_ONLY


def test_training_has_the_defaults_of_the_model():
    config, options = TrainingConfig(data="x"), RecurrentOptions()
    for field in dataclasses.fields(options):
        assert getattr(config, field.name) == getattr(options, field.name)


@pytest.mark.parametrize("name", MODEL_OPTIONS)
def test_every_option_has_help_and_a_docstring(name):
    kind = MODEL_OPTIONS[name]
    documented = "".join(inspect.getdoc(each) or "" for each in kind.__mro__[:-1])
    for field in dataclasses.fields(kind):
        assert declaration(field).help.endswith(".")
        assert f"{field.name}: " in documented


@pytest.mark.parametrize("weights", [(1.0,), (), (1, 1, 1, 1, 1, 0)])
def test_iteration_weights_fit_the_iterations(weights):
    with pytest.raises(UserError, match="expected 6 numbers of at least 0, one per iteration"):
        RecurrentOptions(iteration_weights=weights)
