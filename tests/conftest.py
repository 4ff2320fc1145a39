import os
import pathlib

import pytest

import rnnseg


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
    """The folder of real images, masks and weights; tests skip where it is absent."""
    beside = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = pathlib.Path(os.environ.get("RNNSEG_TEST_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"needs the real test data in {folder} (set RNNSEG_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def cases(real_data) -> pathlib.Path:
    """The folder of faulty inputs beside the real data; tests skip where it is absent."""
    folder = real_data.parent / "cases"
    if not folder.is_dir():
        pytest.skip(f"needs the test inputs in {folder}")
    return folder


@pytest.fixture(scope="session")
def paper_model() -> rnnseg.RecurrentSegmenter:
    """The model of the paper's Table 3, with random weights, for tests that only read it."""
    return rnnseg.RecurrentSegmenter(
        21,
        encoder="resnet101",
        encoder_weights=None,
        output_stride=16,
        canvas_stride=16,
        hidden_channels=(512, 256),
    )
