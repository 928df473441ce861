"""One episode on one machine: set up, acted on, played again where a snapshot asks for it, and graded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from cmat_gym.core.errors import BackendError, ReplayError, TaskError
from cmat_gym.core.task import Score
from cmat_gym.envs.os.backend import FinalState, Limits, Machines, Output, Ran, Sandbox, SandboxDied, Script
from cmat_gym.envs.os.checkers import find_checker
from cmat_gym.envs.os.scorer import score_match, score_os, wanted_paths

__all__ = ["Grading", "Session", "digest", "start_machine"]

FAILED = Score(0.0, False)


class Grading(NamedTuple):
    """How official tasks are graded.

    Attributes:
        gold: `fresh` runs a task's reference solution on a machine that no agent has touched; `final` runs it on the
            machine as the agent left it, as the original does.
        strict_sizes: The original's reading of sizes, which fails on `5KB`.
    """

    gold: str = "fresh"
    strict_sizes: bool = False


def digest(output: Output) -> str:
    """What a command printed and did to the shell, in a few letters."""
    text = f"{output.event}\0{output.status}\0{output.text}".encode("utf-8", "surrogateescape")
    return hashlib.blake2b(text, digest_size=6).hexdigest()


def start_machine(machines: Machines, limits: Limits, payload: Mapping[str, Any], task_id: str) -> Sandbox:
    """A machine as the agent of a task finds it.

    Raises:
        TaskError: A script that sets the task up fails.
        BackendError: There is no machine.
    """
    scripts = [*payload.get("init", ()), payload.get("example"), *payload.get("checks", ())]
    for script in filter(None, scripts):
        if "missing" in script:
            raise TaskError(f"Task {task_id} needs the script {script['missing']}, which is not there")
    sandbox = machines.start(limits)
    try:
        if payload.get("files"):
            sandbox.populate(payload["files"])
        for number, script in enumerate(payload.get("init", ())):
            ran = sandbox.execute(Script(script["code"], script["language"]))
            if ran.code != 0:
                ending = ran.output.strip()[-200:]
                raise TaskError(
                    f"Task {task_id} cannot be set up: its init script {number} ended with {ran.code}: {ending}"
                )
        if payload["start"]:
            sandbox.run(payload["start"])
    except BaseException:
        sandbox.close()
        raise
    return sandbox


class Session:
    """The commands of an episode, and the machine that they were run on.

    The commands are the truth: the machine is made when it is first needed, by playing them. Two sessions of a task
    with the same commands and the same outputs go on alike, unless a command depends on the clock or on chance.
    """

    def __init__(self, machines: Machines, limits: Limits, payload: Mapping[str, Any], task_id: str) -> None:
        self.machines, self.limits, self.payload, self.task_id = machines, limits, payload, task_id
        self.commands: list[tuple[str, str]] = []  # command and digest of what it printed
        self.dead = False
        self._sandbox: Sandbox | None = None

    def ensure(self) -> Sandbox:
        """The machine in the state of this episode.

        Raises:
            ReplayError: The commands were played again, and one of them printed something else.
        """
        if self._sandbox is None:
            sandbox = start_machine(self.machines, self.limits, self.payload, self.task_id)
            for command, expected in self.commands:
                if digest(sandbox.run(command)) != expected:
                    sandbox.close()
                    raise ReplayError(
                        f"The episode of {self.task_id} cannot be restored: {command!r} printed something else when it "
                        "was played again. Snapshots of this world play the commands again, so commands that depend on "
                        "the clock or on chance have no exact copy."
                    )
            self._sandbox = sandbox
        return self._sandbox

    def continues_as(self, other: Session) -> bool:
        """Whether this session's machine can go on in the place of another one."""
        if self.dead or other.dead or self._sandbox is None:
            return False
        return self.task_id == other.task_id and self.payload == other.payload and self.commands == other.commands

    def run(self, command: str) -> Output:
        """Run a command in the shell; on a machine that has died, nothing happens."""
        if self.dead:
            return Output("", None, "dead")
        try:
            output = self.ensure().run(command)
        except SandboxDied:
            self.dead = True
            self.close()
            return Output("", None, "dead")
        self.commands.append((command, digest(output)))
        return output

    def preview(self, commands: Sequence[str], grading: Grading) -> bool:
        """Whether these commands, run from here on another machine, solve the task; this one is not touched."""
        other = Session(self.machines, self.limits, self.payload, self.task_id)
        other.commands = list(self.commands)
        try:
            for command in commands:
                other.run(command)
            return other.grade(None, grading).success
        except (BackendError, ReplayError):
            return False
        finally:
            other.close()

    def grade(self, answer: str | None, grading: Grading) -> Score:
        """The score of handing in now; the machine stands still from here on."""
        if self.dead:
            return FAILED
        if self._sandbox is not None or self.commands:
            self.ensure()
        gold = self.gold() if grading.gold == "fresh" and None in self.payload.get("checks", ()) else None
        try:
            if "goal" in self.payload:
                return self._grade_builtin(answer)
            return self._grade_official(answer, grading, gold)
        except BackendError as error:  # of a machine that worked before: what is left of it cannot be graded
            return Score(0.0, False, {"failures": str(error)})

    def close(self) -> None:
        """Let go of the machine."""
        if self._sandbox is not None:
            self._sandbox.close()
            self._sandbox = None

    # Grading ----------------------------------------------------------------------------------------------------------

    def _grade_builtin(self, answer: str | None) -> Score:
        payload = self.payload
        if payload["answer"] is not None:
            return score_os(payload["goal"], payload["answer"], answer, FinalState())
        sandbox = self.ensure()
        sandbox.freeze()
        state = sandbox.inspect(wanted_paths(payload["goal"]))
        probes = tuple(sandbox.check(Script(code)) for code, _ in payload["goal"]["probes"])
        return score_os(payload["goal"], None, answer, replace(state, probes=probes))

    def _grade_official(self, answer: str | None, grading: Grading, gold: Ran | None) -> Score:
        payload = self.payload
        if "match" in payload:
            return score_match(payload["match"], answer)
        parameters = [str(answer)]
        for check in payload["checks"]:
            if check is None:
                ran = gold or self._check(payload["example"], parameters)
            elif "standard" in check:
                checker = find_checker(check["standard"], strict_sizes=grading.strict_sizes)
                passed = checker is not None and len(parameters) > 1 and checker(parameters[0], parameters[1])
                ran = Ran("", 0 if passed else 1)
            else:
                ran = self._check(check, parameters)
            if ran.code != 0 or ran.timed_out:
                return FAILED
            parameters.append(ran.output)
        return Score(1.0, True)

    def _check(self, script: Mapping[str, str], parameters: Sequence[str]) -> Ran:
        return self.ensure().check(Script(script["code"], script["language"]), parameters)

    def gold(self) -> Ran:
        """What the reference solution prints on a machine that no agent has touched."""
        example = self.payload["example"]
        sandbox = start_machine(self.machines, self.limits, self.payload, self.task_id)
        try:
            return sandbox.check(Script(example["code"], example["language"]))
        finally:
            sandbox.close()
