"""Runs a module that nobody trusts, and what it is asked to evaluate; reports what came out, judges nothing.

What the results should be is not known in this process, so there is nothing here that code could read or forge.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import json
import os
import sys
import types
from collections.abc import Sequence
from typing import Any

LONGEST = 2000  # characters of a result that are reported


class OutOfFuel(BaseException):
    """More lines were run than was allowed."""


class Stub:
    """Finds one module: the text that was sent, in place of the file of that name."""

    def __init__(self, name: str, text: str, folder: str | None) -> None:
        self.name, self.text, self.folder = name, text, folder

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """What the import system asks."""
        if name != self.name:
            return None
        loader: Any = self
        spec = importlib.machinery.ModuleSpec(name, loader, origin=f"<{name}>", is_package=self.folder is not None)
        if self.folder is not None:
            spec.submodule_search_locations = [self.folder]
        return spec

    def create_module(self, spec: object) -> None:
        """None: an ordinary module."""

    def exec_module(self, module: types.ModuleType) -> None:
        """Run the text."""
        exec(compile(self.text, f"<{self.name}>", "exec"), module.__dict__)


def run(request: dict[str, Any], library: str, pipe: int) -> None:
    """Import the module of a request, evaluate its sources in order, and write one JSON object to the pipe.

    A source is lines of statements and, as its last line, an expression. Its outcome is `["value", repr]` or
    `["error", name of the exception]`; `["fuel", ""]` where it ran more than `request["fuel"]` lines.
    """
    sys.path[:] = [library, f"{library}/lib-dynload"]
    sys.path_importer_cache.clear()
    folder = f"{library}/{request['module'].replace('.', '/')}" if request["package"] else None
    stub: Any = Stub(request["module"], request["text"], folder)
    sys.meta_path[:] = [stub, *sys.meta_path, importlib.machinery.PathFinder]
    report: dict[str, Any] = {"nonce": request["nonce"], "error": "", "outcomes": []}
    fuel = Fuel(request["fuel"])
    try:
        module = importlib.import_module(request["module"])
    except BaseException as error:
        report["error"] = type(error).__name__
    else:
        report["outcomes"] = [outcome_of(source, module, request["module"], fuel) for source in request["sources"]]
    data = json.dumps(report).encode()
    while data:
        data = data[os.write(pipe, data) :]
    os._exit(0)


def outcome_of(source: str, module: types.ModuleType, name: str, fuel: Fuel) -> list[str]:
    """Evaluate one source among the names of the module, and its own."""
    *setup, expression = source.split("\n")
    top = name.partition(".")[0]
    namespace = {top: sys.modules[top], **module.__dict__, "__name__": "__main__"}
    try:
        fuel.start()
        exec("\n".join(setup), namespace)
        outcome = ["value", repr(eval(expression, namespace))[:LONGEST]]
    except OutOfFuel:
        outcome = ["fuel", ""]
    except BaseException as error:
        outcome = ["error", type(error).__name__]
    finally:
        sys.settrace(None)
    return ["fuel", ""] if fuel.empty else outcome


class Fuel:
    """A limit on the lines of Python that are run: the same on every machine, unlike a limit of time."""

    def __init__(self, lines: int | None) -> None:
        self.lines = lines
        self.left = 0

    @property
    def empty(self) -> bool:
        """Whether the last run has used it up."""
        return self.lines is not None and self.left < 0

    def start(self) -> None:
        """Count from the beginning, if at all."""
        if self.lines is not None:
            self.left = self.lines
            sys.settrace(self._enter)

    def _enter(self, frame: types.FrameType, event: str, argument: object) -> Any:
        return self._count

    def _count(self, frame: types.FrameType, event: str, argument: object) -> Any:
        self.left -= 1
        if self.left < 0:
            raise OutOfFuel
        return self._count
