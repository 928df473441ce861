"""Pass or fail: a pure function of the task, the answer and the final state, as seen from outside of the machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cmat_gym.core.task import Score
from cmat_gym.envs.os.backend import FileInfo, FinalState

__all__ = ["answers_match", "failures", "score_match", "score_os", "wanted_paths"]

PASSWD, GROUP = "/etc/passwd", "/etc/group"
COMPARED = ("mode", "uid", "gid", "target")


def score_os(goal: Mapping[str, Any], expected: str | None, answer: str | None, state: FinalState) -> Score:
    """Score a builtin task: 1 where the answer is right, or where every fact of the goal holds; else 0."""
    if expected is not None:
        passed = answer is not None and answers_match(answer, expected)
        return Score(float(passed), passed, {"answer": passed})
    wrong = failures(goal, state)
    return Score(float(not wrong), not wrong, {"failures": "; ".join(wrong[:5])})


def score_match(match: Mapping[str, Any], answer: str | None) -> Score:
    """Score an official task that only wants an answer: equal, or found by a regular expression.

    `strip` strips the answer, never what it is compared with.
    """
    if answer is None:
        return Score(0.0, False)
    answer = answer.strip() if match["strip"] else answer
    passed = re.search(match["regex"], answer) is not None if "regex" in match else answer == match["answer"]
    return Score(float(passed), passed)


def answers_match(answer: str, expected: str) -> bool:
    """Equal as numbers where a number is expected, else as texts without the spaces around them."""
    answer = answer.strip()
    if expected.lstrip("-").isdigit():
        return answer.isascii() and answer.lstrip("-").isdigit() and len(answer) < 20 and int(answer) == int(expected)
    return answer == expected


def wanted_paths(goal: Mapping[str, Any]) -> list[str]:
    """The paths that `failures` looks at."""
    accounts = [PASSWD, GROUP] if goal["users"] or goal["groups"] else []
    return [*goal["roots"], *accounts]


def failures(goal: Mapping[str, Any], state: FinalState) -> list[str]:
    """What is not as the goal wants it."""
    wrong = [] if state.complete else ["more files than can be looked at"]
    wrong += _files(goal["roots"], goal["tree"], state.files)
    wrong += _users(goal["users"], goal["groups"], state.files)
    for words, alive in goal["processes"].items():
        if any(words in " ".join(process.command) and process.state != "Z" for process in state.processes) != alive:
            wrong.append(f"process {words!r} is {'not ' if alive else ''}there")
    for number, (_, expected) in enumerate(goal["probes"]):
        ran = state.probes[number] if number < len(state.probes) else None
        if ran is None or ran.code != 0 or ran.output.strip() != expected.strip():
            wrong.append(f"check {number} printed something else")
    return wrong


def _files(roots: list[str], tree: Mapping[str, Any], files: Mapping[str, FileInfo]) -> list[str]:
    below = {path for path in files if any(path == root or path.startswith(f"{root}/") for root in roots)}
    wrong = [f"{path} is there" for path in sorted(below - set(tree))]
    for path, wanted in tree.items():
        found = files.get(path)
        if found is None:
            wrong.append(f"{path} is missing")
        elif not _alike(wanted, found):
            wrong.append(f"{path} is different")
    return wrong


def _alike(wanted: Mapping[str, Any], found: FileInfo) -> bool:
    if found.type != wanted["type"] or any(
        name in wanted and getattr(found, name) != wanted[name] for name in COMPARED
    ):
        return False
    if "content" not in wanted:
        return True
    if wanted.get("spaces", True):
        return bool(found.content == wanted["content"] and found.size == len(wanted["content"].encode()))
    return _words(found.content) == _words(wanted["content"]) and found.size < 1 << 16


def _words(text: str) -> list[list[str]]:
    return [line.split() for line in text.rstrip().split("\n")]


def _users(users: Mapping[str, Any], groups: Mapping[str, Any], files: Mapping[str, FileInfo]) -> list[str]:
    """Facts about accounts, read from the files that define them."""
    if not users and not groups:
        return []
    if any(path not in files or files[path].type != "file" for path in (PASSWD, GROUP)):
        return ["/etc/passwd or /etc/group is gone"]
    accounts = [line.split(":") for line in files[PASSWD].content.splitlines()]
    memberships = [line.split(":") for line in files[GROUP].content.splitlines()]
    wrong = []
    for name, facts in users.items():
        matches = [fields for fields in accounts if fields[0] == name and len(fields) == 7]
        if facts is None:
            wrong += [f"user {name} is there"] if matches else []
        elif len(matches) != 1 or any(matches[0][{"home": 5, "shell": 6}[key]] != facts[key] for key in facts):
            wrong.append(f"user {name} is not as wanted")
    for name, members in groups.items():
        lines = [fields for fields in memberships if fields[0] == name and len(fields) == 4]
        if len(lines) != 1 or sorted(filter(None, lines[0][3].split(","))) != sorted(members):
            wrong.append(f"group {name} is not as wanted")
    return wrong
