import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

from experiments import gpu_check

SETTING = gpu_check.Setting("CPU:0", "small_cnn", 33, 2, repeats=1, matrix=64)


def test_all_of_it_runs_on_a_cpu_and_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu_check, "PRECISIONS", ("float32", "mixed_bfloat16"))
    monkeypatch.setattr(gpu_check, "_ITERATIONS", (1, 2))
    monkeypatch.setattr(gpu_check, "_CURVE_STEPS", 6)
    out = tmp_path / "check.txt"
    arguments = ["--size", "33", "--repeats", "1", "--out", str(out)]
    result = CliRunner().invoke(gpu_check.main, arguments)
    assert result.exit_code == 0, result.output
    text = out.read_text()
    assert text in result.output and "no GPU: everything below is of the CPU" in text
    assert "replicas: needs two GPUs, there are 0" in text
    lines = [line.split() for line in text.splitlines()]
    steps = [each for each in lines if each[1:2] and each[1] in gpu_check.PRECISIONS]
    steps = [each for each in steps if each[0] in ("recurrent", "DeepLabv3")]
    assert [each[:3] for each in steps] == [
        [kind, precision, jit]
        for kind in ("recurrent", "DeepLabv3")
        for precision in ("float32", "mixed_bfloat16")
        for jit in ("no", "yes")
    ]
    assert all(float(milliseconds) > 0 for _, _, _, milliseconds, *_ in steps)
    kernels = [line for line in text.splitlines() if "without a kernel for GPU" in line]
    assert len(kernels) == 2 and all(line.endswith(": none") for line in kernels)
    # The CPU beside itself in float32.
    assert "ok CPU:0 float32: on average 0.000 % from it" in text


def test_a_wrong_device_is_found(monkeypatch):
    """A device whose losses are a tenth too large, and one that gives NaN."""
    monkeypatch.setattr(gpu_check, "PRECISIONS", ("float32",))
    for factor in (1.1, np.nan):
        curves = iter([np.ones(3), factor * np.ones(3)])
        monkeypatch.setattr(gpu_check, "losses_of", lambda *_, curves=curves: next(curves))
        *_, line = gpu_check.curves(SETTING)
        assert line.startswith("FAILED CPU:0 float32")

    def fails(*_):
        raise tf.errors.InternalError(None, None, "no kernel\nfor it")

    monkeypatch.setattr(gpu_check, "build", fails)
    line = gpu_check.step_line(SETTING, "recurrent", "float32", False, None)
    assert line.startswith("FAILED recurrent") and line.endswith("InternalError: no kernel for it")


def test_operations_without_a_kernel_for_gpus_are_named():

    class Node:
        def __init__(self, op):
            self.op = op

    nodes = [Node("MatMul"), Node("DecodePng")]
    inputs = {"Placeholder"}
    assert gpu_check._operations_of("CPU", nodes) - inputs == {"MatMul", "DecodePng"}
    assert gpu_check._operations_of("GPU", nodes) - inputs == {"MatMul"}


def test_the_cost_of_a_step_is_three_forward_passes():
    model = gpu_check.build(dataclasses.replace(SETTING), "recurrent", "float32")
    found = gpu_check.step_multiply_adds(model, 33)
    from rnnseg.budgets.costs import stage_costs

    costs = stage_costs(model, 33, 33)
    expected = costs.encode + costs.prepare + model.iterations * costs.refine + costs.read
    assert found == pytest.approx(3 * expected, rel=0.1)
