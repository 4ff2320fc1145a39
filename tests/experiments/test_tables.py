import dataclasses

import pytest

from experiments import tables
from rnnseg.errors import UserError
from tests.support.commands import read_csv


@dataclasses.dataclass
class Row:
    name: str
    value: float | None


def test_a_table_has_a_rule_and_an_entry_in_every_column():
    assert tables.markdown_table(["a", "b"], [("x", 1), ["", "2.50"]]).splitlines() == [
        "| a | b |",
        "| --- | --- |",
        "| x | 1 |",
        "|  | 2.50 |",
    ]
    with pytest.raises(ValueError, match="expected 2 entries"):
        tables.markdown_table(["a", "b"], [("x", 1), ("y",)])


def test_rows_are_dataclasses_or_mappings(tmp_path):
    rows = [Row("x", 1.5), Row("y, z", None)]
    expected = [{"name": "x", "value": "1.5"}, {"name": "y, z", "value": ""}]
    for number, each in enumerate((rows, [vars(row) for row in rows])):
        tables.save_csv(tmp_path / f"{number}.csv", each)
        assert read_csv(tmp_path / f"{number}.csv") == expected


def test_result_files_are_checked_before_and_written_after(tmp_path, capsys):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match=r"out\.csv"):
        tables.ResultFiles.named(tmp_path / "file" / "out")
    files = tables.ResultFiles.named(tmp_path / "new" / "out")
    assert not list((tmp_path / "new").iterdir())
    drawn = []
    files.save([Row("x", 1)], drawn.append)
    assert read_csv(tmp_path / "new" / "out.csv") == [{"name": "x", "value": "1"}]
    assert drawn == [f"{tmp_path}/new/out.png"]
    assert capsys.readouterr().out == f"wrote {tmp_path}/new/out.csv and {tmp_path}/new/out.png\n"
