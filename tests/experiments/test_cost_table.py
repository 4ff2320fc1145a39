import pytest

from experiments import cityscapes_table, cost_table, voc_table
from experiments.paper_systems import KINDS
from tests.support.commands import image_size, read_csv, run


def test_cost_table_agrees_with_the_paper_on_the_recurrence(tmp_path, monkeypatch):
    cases = [case for case in cost_table.CASES if case.kind in ("recurrent", "fcn")]
    monkeypatch.setattr(cost_table, "CASES", cases[-3:])
    out = tmp_path / "costs"
    printed = run(cost_table.main, "--out", out)
    *written, fcn = read_csv(f"{out}.csv")
    assert [row["setting"] for row in written] == ["5 iterations", "6 iterations"]
    for row in written:
        for part in ("single", "multi"):
            assert float(row[part]) == pytest.approx(float(row[f"{part}_paper"]), rel=0.01)
    single = float(written[1]["single"])
    assert f"| recurrent | 6 iterations | {single:.1f} | 94.3 |" in printed
    # The convolutions of a ResNet-101 at stride 32, and the 1x1 scores of three depths.
    scores = 21 * (65**2 * 512 + 33**2 * 1024 + 17**2 * 2048) / 1e9
    assert float(fcn["single"]) == pytest.approx(41.9 + scores, rel=0.005)
    assert f"| fcn | stride 32 | {float(fcn['single']):.1f} | – |" in printed
    assert fcn["single_paper"] == fcn["multi_paper"] == ""
    assert image_size(f"{out}.png")[0] == 1350


def test_the_paper_has_ten_counts_and_every_other_system_of_its_tables_follows():
    counted = [case for case in cost_table.CASES if case.single is not None]
    assert len(counted) == 10 and all(case.multi > 10 * case.single for case in counted)
    rows = [*cityscapes_table.PUBLISHED, *voc_table.PUBLISHED]
    assert {KINDS[system] for system in rows} == {case.kind for case in cost_table.CASES}
