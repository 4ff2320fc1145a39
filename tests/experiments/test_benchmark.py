import dataclasses
import math

import tensorflow as tf

from experiments import benchmark


def test_forms_give_the_same_canvas():
    case = benchmark.Case("tiny", side=5, features=12, hidden_channels=(8, 4), classes=3)
    result = benchmark.measure(case, repeats=2, iterations=(1, 2, 3))
    assert list(result) == ["naive", "as built", "bfloat16", "XLA"]
    assert result["XLA"].difference < 1e-5 and math.isnan(result["XLA"].train)
    assert result["as built"].difference < 1e-5 < result["bfloat16"].difference < 0.1
    for times in result.values():
        assert len(times.refine) == 3 and min(*times.refine, times.prepare) > 0
        assert not times.train <= 0
    # Gates of every layer, of what it sees but the features; at first there is nothing to forget.
    later = 25 * 4 * (8 * (3 + 8) + 4 * (8 + 4) + 3 * (4 + 3))
    first = 25 * 3 * (4 * 8 + 3 * 4)
    assert [case.refine_cost(n) for n in (1, 2, 3)] == [first, first + later, first + 2 * later]


def test_the_report_has_the_measurements():
    case = benchmark.CASES[0]
    result = {
        form: benchmark.Times(
            tuple(start + n * each for n in range(1, 13)), prepare=0.004, train=0.1, difference=1e-6
        )
        for form, start, each in (
            ("naive", 0.005, 0.030),
            ("as built", -0.002, 0.010),
            ("bfloat16", 0, 0.005),
            ("XLA", 0, 0.020),
        )
    }
    result["XLA"] = dataclasses.replace(result["XLA"], train=math.nan)
    cost = case.refine_cost(2) - case.refine_cost(1)
    peaks = {tf.float32: 2 * cost / 0.005, tf.bfloat16: 2 * cost / 0.0025}
    lines = benchmark.report(case, result, peaks).splitlines()
    assert lines[-6].split()[:5] == ["12", "365.00", "118.00", "122.00", "2.99"]
    assert lines[-5] == "an iteration naive: 30.00 ms"
    assert "as built: 10.00 ms, ratio 3.00" in lines[-4] and "50% of the peak" in lines[-4]
    assert "R^2 = 1.0000" in lines[-4] and "1.0e-06" in lines[-4]
    assert "bfloat16: 5.00 ms, ratio 6.00" in lines[-3] and "50% of the peak" in lines[-3]
    assert "XLA: 20.00 ms, ratio 1.50" in lines[-2]
    assert lines[-1].endswith("100.0 ms naive, 100.0 ms as built, 100.0 ms bfloat16")
