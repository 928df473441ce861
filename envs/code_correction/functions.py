"""Functions of the standard library: where they stand, what they say, and a module with another text in their place.

Nothing of the library is shipped: a table names functions (data/functions.toml), and their sources are read from the
Python that runs this. `data/sources.json` has the hashes of the sources that were looked at, so that a function whose
text is new can be told.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sysconfig
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from cmat_gym.core.errors import TaskError

__all__ = ["Function", "Source", "known_hashes", "library_folder", "read_functions", "table"]

LINES = range(4, 61)  # of a function that tasks are made of


@dataclass(frozen=True)
class Source:
    """A module of the standard library as text."""

    module: str
    package: bool
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        return ast.parse(self.text)

    def find(self, qualname: str) -> ast.FunctionDef | None:
        """The definition of a function or method; None where there is none, or more than one."""
        scope: list[ast.stmt] = self.tree.body
        *outer, name = qualname.split(".")
        for part in outer:
            classes = [node for node in scope if isinstance(node, ast.ClassDef) and node.name == part]
            if len(classes) != 1:
                return None
            scope = classes[0].body
        found = [node for node in scope if isinstance(node, ast.FunctionDef) and node.name == name]
        return found[0] if len(found) == 1 else None


@dataclass(frozen=True)
class Function:
    """A function that tasks are made of.

    Attributes:
        source: The module it stands in.
        qualname: Its name within the module.
        split: The split of its module.
        calls: Templates of sources that call it; none for one that is hard to call.
        reference: Its text, without the indentation of its class.
        first: Its first line in the module, decorators included; from 0.
        last: The line after its last one.
        indent: The white space before it.
    """

    source: Source
    qualname: str
    split: str
    calls: tuple[str, ...]
    reference: str
    first: int
    last: int
    indent: str

    @property
    def name(self) -> str:
        """Module and name, as tables list it."""
        return f"{self.source.module}.{self.qualname}"

    @property
    def sha256(self) -> str:
        """Hash of the text, as the table of known sources holds it (16 hex digits)."""
        return hashlib.sha256(self.reference.encode()).hexdigest()[:16]

    @property
    def frozen(self) -> bool:
        """Whether this text is known from a version of Python that was looked at."""
        return self.sha256 in known_hashes().get(self.name, ())

    def module_with(self, text: str) -> str:
        """The module with another text in the place of the function."""
        lines = self.source.text.splitlines(keepends=True)
        own = [self.indent + line if line.strip() else line for line in f"{text.rstrip()}\n".splitlines(keepends=True)]
        return "".join([*lines[: self.first], *own, *lines[self.last :]])


def library_folder() -> Path:
    """The standard library of the Python that runs this."""
    return Path(sysconfig.get_path("stdlib"))


@lru_cache(maxsize=1)
def table() -> Mapping[str, Any]:
    """The shipped table of functions, by module."""
    return tomllib.loads(_data("functions.toml"))


@lru_cache(maxsize=1)
def known_hashes() -> Mapping[str, frozenset[str]]:
    """Hashes of known texts, of whatever version of Python, by function."""
    versions: Mapping[str, Mapping[str, list[str]]] = json.loads(_data("sources.json"))
    names = {name for hashes in versions.values() for name in hashes}
    return {name: frozenset(sha for hashes in versions.values() for sha in hashes.get(name, ())) for name in names}


@lru_cache(maxsize=4)
def read_functions(library: Path) -> Mapping[str, Function]:
    """The functions of the table that this library has, by name, in the order of the table.

    Raises:
        TaskError: The folder holds no standard library.
    """
    found = {function.name: function for module, entry in table().items() for function in _of(library, module, entry)}
    if not found:
        raise TaskError(f"{library} holds no sources of the standard library, which code correction makes its tasks of")
    return found


def _of(library: Path, module: str, entry: Mapping[str, Any]) -> Iterator[Function]:
    path = library / module.replace(".", "/")
    package = path.is_dir()
    file = path / "__init__.py" if package else path.with_suffix(".py")
    if not file.is_file():
        return
    source = Source(module, package, file.read_text(encoding="utf-8"))
    lines = source.text.splitlines(keepends=True)
    for qualname, calls in {**entry["calls"], **dict.fromkeys(entry.get("untested", ()), ())}.items():
        node = source.find(qualname)
        if node is None or node.end_lineno is None:
            continue
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]) - 1
        indent = " " * node.col_offset
        own = [line.removeprefix(indent) for line in lines[first : node.end_lineno]]
        if len(own) in LINES:
            yield Function(source, qualname, entry["split"], tuple(calls), "".join(own), first, node.end_lineno, indent)


def _data(name: str) -> str:
    return (files("cmat_gym.envs.code_correction") / "data" / name).read_text(encoding="utf-8")
