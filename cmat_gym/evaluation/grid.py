"""A table of text before it has a form, and its forms: terminal (rich), Markdown, LaTeX, JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cmat_gym.core.errors import UsageError

__all__ = ["Grid", "grid_json", "latex_text", "markdown_text"]

NARROW = 24  # characters of a cell of words that is never broken over lines
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "·": r"$\cdot$",
    "±": r"$\pm$",
}


@dataclass(frozen=True)
class Grid:
    """Headings, rows and what has to be said below them.

    Attributes:
        headings: One for each column; the first column names the rows.
        rows: Cells in the order of the headings. ` [` begins the bounds of an interval, which a narrow form may put on
            a line of their own.
        title: Line above the table.
        notes: Lines below it.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    notes: Sequence[str] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        """Refuse rows that do not fit the headings."""
        for row in self.rows:
            if len(row) != len(self.headings):
                raise UsageError(f"A row of {len(row)} cells does not fit {len(self.headings)} headings: {row!r}")

    def without(self, *headings: str) -> Grid:
        """The grid with those columns left out."""
        kept = [column for column, heading in enumerate(self.headings) if heading not in headings]
        rows = [[row[column] for column in kept] for row in self.rows]
        return Grid([self.headings[column] for column in kept], rows, self.title, self.notes)

    def terminal(self) -> RenderableType:
        """For a rich console; an interval stands under its estimate, which saves width."""
        table = Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
        for number, heading in enumerate(self.headings):
            words = any(char.isalpha() for row in self.rows for char in row[number])
            table.add_column(
                Text(heading.replace(" ", "\n")),
                justify="left" if words or not number else "right",
                no_wrap=not words or max(len(row[number]) for row in self.rows) <= NARROW,
                overflow="fold",
            )
        for row in self.rows:
            # `Text` keeps rich from reading markup out of names.
            table.add_row(*(Text(cell.replace(" [", "\n[")) for cell in row))
        # Title and notes stand outside of the table, which would wrap them to its own width.
        above = [Text(self.title, style="bold")] if self.title else []
        below = [Text("\n".join(self.notes) + "\n", style="dim")] if self.notes else []
        return Group(*above, table, *below)

    def markdown(self) -> str:
        """As a Markdown table, with title and notes."""
        lines = [list(self.headings), ["---", *["---:"] * (len(self.headings) - 1)]]
        lines += [[markdown_text(cell) for cell in row] for row in self.rows]
        table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
        title = f"### {markdown_text(self.title)}\n\n" if self.title else ""
        return title + table + ("\n\n" + "\n".join(self.notes) if self.notes else "") + "\n"

    def latex(self) -> str:
        """As a LaTeX `table` that needs no package."""
        lines = [[latex_text(cell) for cell in cells] for cells in (self.headings, *self.rows)]
        # A row that began with a bracket would be read as an option of the line's end before it.
        head, *body = (f"    {'{}' * cells[0].startswith('[')}{' & '.join(cells)} \\\\" for cells in lines)
        columns = "l" + "r" * (len(self.headings) - 1)
        title = [f"{self.title}."] if self.title else []
        caption = " ".join(latex_text(text) for text in (*title, *self.notes))
        return "\n".join(
            [
                r"\begin{table}",
                r"  \centering",
                rf"  \begin{{tabular}}{{{columns}}}",
                r"    \hline",
                head,
                r"    \hline",
                *body,
                r"    \hline",
                r"  \end{tabular}",
                rf"  \caption{{{caption}}}",
                r"\end{table}",
                "",
            ]
        )


def grid_json(grid: Grid) -> dict[str, Any]:
    """The grid as a JSON-able dict."""
    rows = [dict(zip(grid.headings, row, strict=True)) for row in grid.rows]
    return {"title": grid.title, "rows": rows, "notes": list(grid.notes)}


def markdown_text(text: str) -> str:
    """Text that cannot break out of a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")


def latex_text(text: str) -> str:
    """Text with LaTeX's special characters escaped."""
    return "".join(_LATEX.get(char, char) for char in text.replace("\n", " "))
