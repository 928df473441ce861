"""Which of AgentBench's shell tasks can be solved as written: each task's reference solution, judged by its own check.

    CMAT_GYM_DATA=… python benchmarks/os_official.py                    # dev and train, on the namespace sandbox
    CMAT_GYM_DATA=… python benchmarks/os_official.py --split dev --backend docker --all

A task counts as solvable when its set-up runs and its reference solution, handed in as the answer, passes. That alone
says little where the solution fails in the same way each time, so the reasons for doubt are counted too.
"""

from __future__ import annotations

import argparse
import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cmat_gym.core.errors import BackendError, TaskError
from cmat_gym.envs.os.backend import Limits, Machines, Ran, Script, open_machines
from cmat_gym.envs.os.official import OSTasks
from cmat_gym.envs.os.session import Grading, Session, start_machine

SHOWN = 5


def verdict(machines: Machines, limits: Limits, payload: Mapping[str, Any], name: str) -> str:
    """`solved`, or why not."""
    session = Session(machines, limits, payload, name)
    try:
        session.ensure()
        if "match" in payload:
            answer = payload["match"].get("answer")
            return "solved" if session.grade(answer, Grading()).success else "the stated answer does not pass"
        if payload["example"] is None:
            return "no reference solution: only a check of the state"
        ran = reference(machines, limits, payload, name)
        if None not in payload["checks"]:
            # A change: the reference solution acts in the agent's place, then the state is checked.
            session.run(payload["example"]["code"])
            passed = session.grade(None, Grading()).success
            return "solved" if passed else "the reference solution leaves a state that its check refuses"
        if ran.code != 0:
            return f"the reference solution ends with {ran.code}: {reason(ran.output)}"
        if not session.grade(ran.output, Grading()).success:
            return f"the output of the reference solution is no {kind(payload)}: {reason(ran.output)}"
        return "solved"
    except TaskError as error:
        if " needs the script " in str(error):
            return "a script of the task is not among the files"
        return f"the set-up fails: {reason(str(error).partition(' ended with ')[2].partition(': ')[2])}"
    except BackendError as error:
        return f"sandbox: {error}"
    finally:
        session.close()


def reference(machines: Machines, limits: Limits, payload: Mapping[str, Any], name: str) -> Ran:
    """The reference solution on a fresh machine."""
    sandbox = start_machine(machines, limits, payload, name)
    try:
        return sandbox.check(Script(payload["example"]["code"], payload["example"]["language"]))
    finally:
        sandbox.close()


def kind(payload: Mapping[str, Any]) -> str:
    """What the check of a task wants."""
    return next((c["standard"].partition("-")[0] for c in payload["checks"] if c and "standard" in c), "valid answer")


KINDS = ("No such file or directory", "command not found", "Permission denied", "syntax error", "missing argument",
         "Not a directory", "File exists", "invalid", "unexpected")  # fmt: skip


def reason(output: str) -> str:
    """The kind of an error, without the names in it."""
    lines = output.strip().splitlines()
    if not lines:
        return "(it prints nothing)"
    text = re.sub(r"^.*?line \d+: ", "", lines[-1])
    return next((kind for kind in KINDS if kind in text), re.sub(r"\d+", "N", text)[:60])


def doubts(payload: Mapping[str, Any], ran: Ran) -> list[str]:
    """Signs that a task does not ask for what it seems to."""
    found = []
    if ran.output.strip() in ("0", ""):
        found.append("its answer is 0 or empty")
    if "No such file or directory" in ran.output:
        found.append("its solution looks for files that are not there")
    return found


def main() -> None:
    """Print the counts by split, and the reasons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--split", action="append", choices=["dev", "train", "test"], help="default: all that are there"
    )
    parser.add_argument("--backend", default="namespace")
    parser.add_argument("--all", action="store_true", help="list every unsolved task")
    parser.add_argument("--limit", type=int, help="only the first tasks of a split")
    arguments = parser.parse_args()
    folder = os.environ.get("CMAT_GYM_DATA")
    if not folder:
        raise SystemExit("Set CMAT_GYM_DATA to a folder with os/agentbench/dev.json and training.json")
    tasks = OSTasks.from_source(Path(folder) / "os" / "agentbench")
    machines = open_machines(arguments.backend)
    for split in arguments.split or list(tasks.sizes()):
        reasons: dict[str, list[str]] = defaultdict(list)
        doubtful: Counter[str] = Counter()
        chosen = tasks.split(split)[: arguments.limit]
        for task in chosen:
            text = verdict(machines, Limits(), task.payload, task.id)
            reasons[text].append(task.id.rpartition("/")[2])
            if text == "solved" and task.payload["example"] is not None:
                doubtful.update(doubts(task.payload, reference(machines, Limits(), task.payload, task.id)))
        solved = reasons.pop("solved", [])
        print(f"\n{split}: {len(solved)} of {len(chosen)} tasks are solvable as written ({machines.name})")
        for text, ids in sorted(reasons.items(), key=lambda item: -len(item[1])):
            shown = ids if arguments.all else ids[:SHOWN]
            print(f"  {len(ids):4}  {text}  [{', '.join(shown)}{', …' if len(shown) < len(ids) else ''}]")
        for text, number in doubtful.most_common():
            print(f"  of the solvable ones, {number}: {text}")


if __name__ == "__main__":
    main()
