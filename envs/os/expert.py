"""The oracle: a plan of commands for every builtin task, and the reference solution of official ones.

Its answers are functions of the episode so far. An episode that only followed the plan is where the plan says it is;
after any other command, it tries on another machine what is still needed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from cmat_gym.core.protocol import Call
from cmat_gym.envs.os import prompts
from cmat_gym.envs.os.session import Grading, Session

__all__ = ["OSExpert", "Plan"]


class Plan(NamedTuple):
    """Turns until success, the first call, and the reason for it."""

    cost: float
    call: Call
    thought: str


class OSExpert:
    """Solves one task.

    Args:
        payload: Of the task.
        grading: What counts as solved.
    """

    def __init__(self, payload: Mapping[str, Any], grading: Grading) -> None:
        self.payload = payload
        self.grading = grading
        self.commands: list[str] = payload.get("plan") or _reference(payload.get("example"))
        self.thoughts: list[str] = payload.get("thoughts") or [prompts.THINK_EXAMPLE] * len(self.commands)
        self._tried: dict[tuple[tuple[str, str], ...], int | None] = {}
        self._gold: str | None = None

    def plan(self, session: Session) -> Plan:
        """The shortest plan from the state of a session."""
        if self.asks:
            return self._question(session)
        step = self._position(session)
        if step is None:  # nothing that it knows helps any more
            return Plan(math.inf, Call("finish"), prompts.THINK_FINISH)
        return self._step(step, Call("finish"), prompts.THINK_FINISH)

    @property
    def asks(self) -> bool:
        """Whether the task wants an answer."""
        payload = self.payload
        if "goal" in payload:
            return payload["answer"] is not None
        return "match" in payload or None in payload["checks"]

    def _question(self, session: Session) -> Plan:
        """Run the commands that show the answer, as far as that was not done, then answer."""
        answer = self._answer(session)
        step = 0
        for command, _ in session.commands:
            step += step < len(self.commands) and command == self.commands[step]
        if answer is None:
            return Plan(math.inf, Call("finish"), prompts.THINK_FINISH)
        thought = prompts.THINK_ANSWER if self.commands else prompts.THINK_KNOWN
        return self._step(step, Call("answer", {"answer": answer}), thought)

    def _step(self, step: int, last: Call, thought: str) -> Plan:
        if step < len(self.commands):
            cost = len(self.commands) - step + 1
            return Plan(cost, Call("bash", {"script": self.commands[step]}), self.thoughts[step])
        return Plan(1, last, thought)

    def _answer(self, session: Session) -> str | None:
        if "goal" in self.payload:
            return str(self.payload["answer"])
        if "match" in self.payload:
            known = self.payload["match"].get("answer")
            return None if known is None else str(known)
        if self._gold is None:
            self._gold = session.gold().output.strip()
        return self._gold

    def _position(self, session: Session) -> int | None:
        """How many commands of the plan are done; None where the rest of the plan does not help."""
        if session.dead:
            return None
        done = [command for command, _ in session.commands]
        if "goal" in self.payload and done == self.commands[: len(done)]:
            return len(done)
        key = tuple(session.commands)
        if key not in self._tried:
            steps = range(len(self.commands), -1, -1)
            self._tried[key] = next((s for s in steps if session.preview(self.commands[s:], self.grading)), None)
        return self._tried[key]


def _reference(script: Mapping[str, str] | None) -> list[str]:
    """A reference solution as commands, if it can be typed into a shell."""
    return [script["code"]] if script is not None and script["language"] == "bash" else []
