"""The live display of a training run: a line per part of the work, with its figures."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from cmat_gym.cli.console import plain

__all__ = ["RunDisplay"]

LINES = 10  # lines a part prints at most where nobody looks at a terminal


class RunDisplay:
    """Shows what `run_recipe` reports: bars in a terminal, plain lines elsewhere.

    Args:
        console: Where to show it.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._bar: TaskID | None = None
        self._name = ""
        self._printed = 0

    def __enter__(self) -> RunDisplay:
        """Begin to show."""
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last state on the screen."""
        self.progress.stop()

    def begin(self, name: str, total: int | None = None) -> None:
        """A part of the work begins."""
        self._name, self._printed = name, 0
        self._bar = self.progress.add_task(name, total=total, figures="")
        if not self.console.is_terminal:
            self.console.print(plain(f"{name} …"))

    def update(self, done: int, total: int, figures: Mapping[str, float]) -> None:
        """It is at `done` of `total`, with these figures."""
        text = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
        if self._bar is not None:
            self.progress.update(self._bar, completed=done, total=total, figures=text)
        due = done * LINES // total if total else 0
        if not self.console.is_terminal and due > self._printed:
            self._printed = due
            self.console.print(plain(f"{self._name}: {done} of {total}  {text}"))

    def note(self, text: str) -> None:
        """Something worth a line of its own."""
        self.console.print(plain(text))
