"""The shared parts of the tables: views, CSV files and Markdown."""

import csv
import dataclasses
import os
from collections.abc import Iterable, Sequence

from rnnseg.files import atomic_path

# Of the paper's multi-scale scheme.
SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


def save_csv(path: str | os.PathLike, rows: Sequence) -> None:
    """Writes instances of one dataclass, one per line."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in dataclasses.fields(rows[0])])
        writer.writeheader()
        writer.writerows(dataclasses.asdict(row) for row in rows)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns a Markdown table.

    Args:
      header: the entries of the first row.
      rows: the entries of all other rows, as long as the first.
    """
    lines = (header, ["---"] * len(header), *rows)
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
