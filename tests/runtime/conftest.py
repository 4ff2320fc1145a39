import pytest

from tests.support.litert import make_staged_model, write_anytime
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
    """The model of the file below."""
    return make_staged_model()


@pytest.fixture(scope="session")
def staged_file(staged_model, tmp_path_factory):
    """The path of its file for images of 41x57 pixels."""
    return write_anytime(staged_model, (41, 57), tmp_path_factory.mktemp("staged"))


@pytest.fixture(scope="session")
def any_size_file(model, tmp_path_factory):
    """The path of a file for images of any size."""
    return write_anytime(model, None, tmp_path_factory.mktemp("any"))
