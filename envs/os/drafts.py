"""A task in the making: its files before, the files that a solution leaves behind, and how to solve it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cmat_gym.core.sandbox.cage.skeleton import EPOCH

__all__ = ["Dice", "Draft", "Node", "Problem"]


class Dice:
    """Draws from a seeded generator."""

    def __init__(self, *seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def integer(self, low: int, high: int) -> int:
        """A number from low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def pick(self, choices: Sequence[Any]) -> Any:
        """One of the choices."""
        return choices[self.integer(0, len(choices) - 1)]

    def sample(self, choices: Sequence[Any], count: int) -> list[Any]:
        """Different choices, in random order."""
        order = self.rng.permutation(len(choices))[:count]
        return [choices[int(position)] for position in order]

    def chance(self, probability: float) -> bool:
        """True with a probability."""
        return bool(self.rng.random() < probability)


@dataclass(frozen=True)
class Node:
    """A file, folder or link.

    Attributes:
        strict: Whether owner and mode count when the final state is compared; not so for what the agent makes itself.
        spaces: False: runs of spaces count as one, and so do line ends at the end.
    """

    type: str = "file"
    content: str = ""
    target: str = ""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = EPOCH
    hex: str = ""  # the content of binary files, which are never compared
    repeat: int = 1  # how often the content stands in the file
    strict: bool = True
    spaces: bool = True

    def entry(self, path: str) -> dict[str, Any]:
        """The node as an order to `Sandbox.populate`; defaults are left out."""
        parts: dict[str, Any] = {"path": path}
        if self.type != "file":
            parts["type"] = self.type
        for name in ("content", "target", "uid", "gid", "hex"):
            if getattr(self, name):
                parts[name] = getattr(self, name)
        if self.type == "file" and not self.hex:
            parts["content"] = self.content
        if self.type != "link" and self.mode != (0o755 if self.type == "folder" else 0o644):
            parts["mode"] = self.mode
        if self.mtime != EPOCH:
            parts["mtime"] = self.mtime
        if self.repeat != 1:
            parts["repeat"] = self.repeat
        return parts

    def expectation(self) -> dict[str, Any]:
        """What the scorer compares."""
        parts: dict[str, Any] = {"type": self.type}
        if self.type == "file" and not self.hex:
            parts["content"] = self.content
        if self.type == "link":
            parts["target"] = self.target
        if self.strict and self.type != "link":
            parts.update(mode=self.mode, uid=self.uid, gid=self.gid)
        if not self.spaces:
            parts["spaces"] = False
        return parts


@dataclass
class Draft:
    """The files of a task by path, without the folders above them."""

    dice: Dice
    nodes: dict[str, Node] = field(default_factory=dict)

    def file(self, path: str, content: str = "", **properties: Any) -> None:
        """Add or replace a file."""
        self.nodes[path] = Node(content=content, **properties)

    def folder(self, path: str, mode: int = 0o755, **properties: Any) -> None:
        """Add a folder that would not come with a file in it."""
        self.nodes[path] = Node("folder", mode=mode, **properties)

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self.nodes[path] = Node("link", target=target)

    def change(self, path: str, **properties: Any) -> None:
        """Change some properties of a node."""
        self.nodes[path] = replace(self.nodes[path], **properties)

    def entries(self) -> list[dict[str, Any]]:
        """Everything as orders to `Sandbox.populate`, in order of path."""
        return [self.nodes[path].entry(path) for path in sorted(self.nodes)]

    def tree(self, *roots: str) -> dict[str, dict[str, Any]]:
        """What is expected at and below some folders, the folders in between included."""
        found: dict[str, dict[str, Any]] = {}
        for path, node in self.nodes.items():
            for root in roots:
                if path == root or path.startswith(f"{root}/"):
                    found[path] = node.expectation()
                    while path != root and (path := path.rpartition("/")[0]) not in self.nodes:
                        found[path] = Node("folder", strict=False).expectation()
        return dict(sorted(found.items()))


@dataclass(frozen=True)
class Problem:
    """A finished task.

    Attributes:
        instruction: What the agent reads.
        entries: The files to create (see `Sandbox.populate`).
        plan: Shell commands of the expert.
        thoughts: Why it runs them, one each.
        answer: The answer; None where the state counts.
        tree: What must be at and below `roots` in the end, and nothing else.
        roots: The folders and files that are compared.
        users, groups: Facts about accounts, see the scorer.
        processes: Words of a command line -> whether a process with them must be there.
        probes: Scripts that are run on a copy of the final state, and what they must print.
        start: What is typed into the shell at the beginning.
    """

    instruction: str
    plan: tuple[str, ...]
    thoughts: tuple[str, ...]
    entries: list[dict[str, Any]]
    answer: str | None = None
    roots: tuple[str, ...] = ()
    tree: dict[str, dict[str, Any]] = field(default_factory=dict)
    users: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)
    processes: dict[str, bool] = field(default_factory=dict)
    probes: tuple[tuple[str, str], ...] = ()
    start: str = ""

    def payload(self, family: str) -> dict[str, Any]:
        """The task's payload."""
        return {
            "family": family,
            "files": self.entries,
            "start": self.start,
            "plan": list(self.plan),
            "thoughts": list(self.thoughts),
            "answer": self.answer,
            "goal": {
                "roots": list(self.roots),
                "tree": self.tree,
                "users": self.users,
                "groups": self.groups,
                "processes": self.processes,
                "probes": [list(probe) for probe in self.probes],
            },
        }
