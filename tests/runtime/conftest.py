import pytest

from tests.support.litert import write_anytime
from tests.support.models import make_lively_model


@pytest.fixture(scope="session")
def model():
    """The model of the files below."""
    return make_lively_model()


@pytest.fixture(scope="session")
def fixed_file(model, tmp_path_factory):
    """The path of a file for images of 41x57 pixels."""
    return write_anytime(model, (41, 57), tmp_path_factory.mktemp("fixed"))


@pytest.fixture(scope="session")
def staged_model():
    """A model with three stages of the encoder, and a canvas finer than the deepest features."""
    model = make_lively_model(
        output_stride=16,
        canvas_stride=8,
        skip_layers=("stride8_conv2_relu", "stride16_conv1_relu"),
        early_iterations=(2, 1),
    )
    for gates in model.stack.skip_gates:  # far from the start's, as those of the deepest features
        gates.kernel.assign(50 * gates.kernel)
    return model


@pytest.fixture(scope="session")
def staged_file(staged_model, tmp_path_factory):
    """The path of its file for images of 41x57 pixels."""
    return write_anytime(staged_model, (41, 57), tmp_path_factory.mktemp("staged"))


@pytest.fixture(scope="session")
def any_size_file(model, tmp_path_factory):
    """The path of a file for images of any size."""
    return write_anytime(model, None, tmp_path_factory.mktemp("any"))
