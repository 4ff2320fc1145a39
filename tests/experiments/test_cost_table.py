import pytest

from experiments import cost_table
from tests.support.commands import image_size, read_csv, run


def test_cost_table_agrees_with_the_paper_on_the_recurrence(tmp_path, monkeypatch):
    monkeypatch.setattr(cost_table, "PUBLISHED", cost_table.PUBLISHED[-2:])
    out = tmp_path / "costs"
    printed = run(cost_table.main, "--out", out)
    written = read_csv(f"{out}.csv")
    assert [row["setting"] for row in written] == ["5 iterations", "6 iterations"]
    for row in written:
        for part in ("single", "multi"):
            assert float(row[part]) == pytest.approx(float(row[f"{part}_paper"]), rel=0.01)
    single = float(written[1]["single"])
    assert f"| recurrent | 6 iterations | {single:.1f} | 94.3 |" in printed
    assert image_size(f"{out}.png")[0] == 1350
