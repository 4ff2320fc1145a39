"""Tables of experiments: in Markdown, as CSV files, and both beside a figure."""

import csv
import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence

from rnnseg.files import atomic_path, check_writable

# The paper's multi-scale evaluation; every image is also mirrored at every scale.
SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


def markdown_table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns a Markdown table.

    Args:
      titles: one title per column.
      rows: one entry per column in every row; `str` makes the text of an entry.

    Raises:
      ValueError: a row with more or fewer entries than there are titles.
    """
    lines = [titles, ["---"] * len(titles), *rows]
    if any(len(line) != len(titles) for line in lines):
        raise ValueError(f"expected {len(titles)} entries in every row: {lines}")
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def iteration_titles(numbers: Iterable[object]) -> list[str]:
    """Returns the column titles of numbers of iterations, such as "n = 6"."""
    return [f"n = {number}" for number in numbers]


def seeded_titles(numbers: Iterable[int]) -> list[str]:
    """Returns the column titles of numbers of iterations of which 0 is the seed."""
    return [f"n = {number}" if number else "seed" for number in numbers]


def save_csv(path: str | os.PathLike, rows: Sequence) -> None:
    """Writes a CSV file.

    Args:
      path: the file.
      rows: at least one: instances of one dataclass, or mappings with the same keys, which become
        the titles of the columns.
    """
    records = [row if isinstance(row, Mapping) else dataclasses.asdict(row) for row in rows]
    with atomic_path(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, list(records[0]))
        writer.writeheader()
        writer.writerows(records)


class ResultFiles:
    """The CSV file and the figure in which an experiment leaves its results.

    They are made before the work begins, so that a path that cannot be written is found at once.

    Args:
      table: the CSV file.
      figure: the PNG file.

    Raises:
      UserError: one of the files cannot be written.
    """

    def __init__(self, table: str | os.PathLike, figure: str | os.PathLike):
        for path in (table, figure):
            check_writable(path)
        self._table, self._figure = table, figure

    @classmethod
    def named(cls, out: str | os.PathLike) -> "ResultFiles":
        """Returns the files OUT.csv and OUT.png."""
        return cls(f"{out}.csv", f"{out}.png")

    def save(self, rows: Sequence, draw: Callable[[str | os.PathLike], None]) -> None:
        """Writes both files and prints their names.

        Args:
          rows: the lines of the table, as `save_csv` takes them.
          draw: writes the figure to the path that it is given.
        """
        save_csv(self._table, rows)
        draw(self._figure)
        print(f"wrote {self._table} and {self._figure}")
