import dataclasses
import inspect

import pytest

from rnnseg import UserError
from rnnseg.models.options import MODEL_OPTIONS, RecurrentOptions
from rnnseg.models.registry import MODELS
from rnnseg.options import declaration, kinds_of, tuple_of
from rnnseg.training.config import TrainingConfig


def test_every_model_has_options():
    assert MODEL_OPTIONS.keys() == MODELS.keys()


@pytest.mark.parametrize("field", dataclasses.fields(TrainingConfig), ids=lambda each: each.name)
def test_every_number_has_a_largest_value(field):
    kind = kinds_of(field)[0]
    if (tuple_of(kind)[0] or kind) in (int, float):
        declared = declaration(field)
        assert declared.choices or declared.most is not None or declared.below is not None


@pytest.mark.parametrize("name", MODEL_OPTIONS)
def test_constructors_have_the_declared_defaults(name):
    parameters = inspect.signature(MODELS[name]).parameters
    for field in dataclasses.fields(MODEL_OPTIONS[name]):
        assert parameters[field.name].default == field.default
        assert parameters[field.name].kind is inspect.Parameter.KEYWORD_ONLY


def test_training_has_the_defaults_of_the_model():
    config, options = TrainingConfig(data="x"), RecurrentOptions()
    options = dataclasses.replace(options, **options.defaults())
    for field in dataclasses.fields(options):
        assert getattr(config, field.name) == getattr(options, field.name)


@pytest.mark.parametrize(
    "given, early, scale, weights",
    [
        ({}, (2,), 3, {2: 0.15, 4: 0.2, 8: 0.3, 12: 0.35}),
        ({"output_stride": 32}, (2,), 3, {2: 0.15, 4: 0.2, 8: 0.3, 12: 0.35}),
        ({"canvas_stride": 16}, (), 0, {12: 1}),
        ({"output_stride": 8}, (), 0, {12: 1}),
        ({"skip_layers": ()}, (), 0, {12: 1}),
        ({"iterations": 6}, (2,), 3, {2: 0.15 + 0.2, 4: 0.3, 6: 0.35}),
        ({"iterations": 2}, (), 3, {1: 0.15 + 0.2, 2: 0.3 + 0.35}),
        ({"early_iterations": ()}, (), 3, {2: 0.15, 4: 0.2, 8: 0.3, 12: 0.35}),
        ({"early_iterations": (1, 2)}, (1, 2), 3, {1: 0.15, 3: 0.15, 4: 0.2, 8: 0.3, 12: 0.35}),
        ({"increment_scale": 0, "canvas_stride": 8}, (2,), 0, None),
        ({"encoder": object()}, (), 0, {12: 1}),
        ({"encoder": object(), "skip_layers": ("a",)}, (2,), 3, None),
    ],
)
def test_defaults_follow_from_the_depths(given, early, scale, weights):
    options = RecurrentOptions(**given)
    found = options.defaults()
    assert (found["early_iterations"], found["increment_scale"]) == (early, scale)
    if weights is not None:
        every = [weights.get(number, 0) for number in range(1, options.iterations + 1)]
        assert found["iteration_weights"] == pytest.approx(every)
    # What is chosen is no longer changed.
    assert dataclasses.replace(options, **found).defaults() == found


@pytest.mark.parametrize("name", MODEL_OPTIONS)
def test_every_option_has_help_and_a_docstring(name):
    kind = MODEL_OPTIONS[name]
    documented = "".join(inspect.getdoc(each) or "" for each in kind.__mro__[:-1])
    for field in dataclasses.fields(kind):
        assert declaration(field).help.endswith(".")
        assert f"{field.name}: " in documented


@pytest.mark.parametrize("weights", [(1.0,), (), (*(1,) * 11, 0)])
def test_iteration_weights_fit_the_iterations(weights):
    with pytest.raises(UserError, match="expected 12 numbers of at least 0, one per iteration"):
        RecurrentOptions(iteration_weights=weights)


@pytest.mark.parametrize("given", [{"hidden_channels": (4096,) * 3}, {"kernel_size": 127}])
def test_layers_that_exhaust_the_memory_together_are_refused(given):
    with pytest.raises(UserError, match=r"at least \d+ million parameters .* at most 268 million"):
        RecurrentOptions(**{"hidden_channels": (512, 256)} | given)
    RecurrentOptions(hidden_channels=(4096, 4096))
