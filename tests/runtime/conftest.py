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
def any_size_file(model, tmp_path_factory):
    """The path of a file for images of any size."""
    return write_anytime(model, None, tmp_path_factory.mktemp("any"))
