import keras
import numpy as np

from experiments import training_benchmark
from experiments.training_benchmark import Case, Step


def test_every_form_trains_the_same():
    """So that what is compared gives the same answer; the sampled form on all patches does, too."""
    case = Case("tiny", 6, (32, 48), 2, (4, 3), 5)
    losses = []
    for form in case.forms:
        keras.utils.set_random_seed(1)
        step = training_benchmark.training_step(case, form, 4, patches=6)
        losses.append([float(step()) for _ in range(3)])
    assert len(losses) == 4 and losses[0][0] != losses[0][2]
    np.testing.assert_allclose(losses[1:], [losses[0]] * 3, rtol=1e-5)


def test_the_report_has_the_measurements():
    case = training_benchmark.CASES[0]
    assert case.forms == ("naive", "as built", "recompute")  # its encoder is trained
    results = [{form: Step(n * 10**8, n / 10) for form in case.forms} for n in (1, 3)]
    lines = training_benchmark.report(case, results).splitlines()
    assert lines[0].endswith("4 images of 360x480, widths 128, 64, 11")
    assert lines[3].split() == ["3", *["300", "MB", "300", "ms"] * 3]
    assert lines[4] == "memory with 3 over 1: naive 3.00, as built 3.00, recompute 3.00"
