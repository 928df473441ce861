"""Where the commands write: figures to stdout, progress to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from cmat_gym.evaluation.evaluate import OnProgress

__all__ = ["episode_progress", "make_console", "plain", "print_json"]

PIPE_WIDTH = 100  # columns where nobody looks at a terminal


def make_console(*, stderr: bool = False) -> Console:
    """A console on the present stdout or stderr."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else PIPE_WIDTH, highlight=False)


def plain(text: str, style: str = "") -> Text:
    """Text of a world or an agent: no markup, no control characters that could steer the terminal."""
    shown = "".join(char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text)
    return Text(shown, style=style)


def print_json(value: object) -> None:
    """Print a value as JSON on stdout."""
    print(json.dumps(value, indent=2))


@contextmanager
def episode_progress(name: str) -> Iterator[OnProgress]:
    """A progress bar for one evaluation; gives what `evaluate` takes as `on_progress`."""
    console = make_console(stderr=True)
    with Progress(
        TextColumn("{task.fields[name]}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("episodes, mean score {task.fields[score]:.3f}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        bar = progress.add_task("", total=None, name=name, score=0.0)

        def on_progress(done: int, total: int, score: float) -> None:
            progress.update(bar, completed=done, total=total, score=score)

        yield on_progress
