"""Speed of the household, next to the original engine: `python benchmarks/alfworld.py [--games 20] [--steps 25]`.

Both engines play the same games with the same actions, in one process each: published games if CMAT_GYM_DATA names the
folder with `alfworld/games_seen_train.tar.xz`, builtin ones (written as game files) otherwise. Ours is timed through
`gym.make("cmat/ALFWorld-v0", memory=None)` with all its checks, the original bare. Times are those of the processor, so
that what else runs on the machine does not count. Without the original engine (alfworld_reference.py says what to
install) only our figures are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alfworld_reference import installed

ENVIRONMENTS = 64
SNAPSHOTS = 2000
STATES = 20  # plans a game


def seconds(work: Callable[[], object]) -> float:
    """Processor time that it takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def memory_mb() -> float:
    """The resident size of this process: now where the system tells, else its largest so far."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * resource.getpagesize() / 2**20


# The parts, a process each --------------------------------------------------------------------------------------------


def prepare(folder: Path, games: int, steps: int) -> None:
    """Choose games and random actions, and write both where the two engines find them."""
    from cmat_gym.envs.alfworld.backend import open_game
    from cmat_gym.envs.alfworld.gamefile import game_payload, save_game
    from cmat_gym.envs.alfworld.official import OfficialHouseTasks
    from cmat_gym.envs.alfworld.records import Dialect
    from cmat_gym.envs.alfworld.scorer import Wish, goal_holds
    from cmat_gym.envs.alfworld.tasks import open_tasks

    data = os.environ.get("CMAT_GYM_DATA")
    if data:
        found = OfficialHouseTasks(data).games["valid_seen"]
        paths = [found[number * len(found) // games] for number in range(games)]
    else:
        tasks = open_tasks().split("train")
        paths = [folder / f"{number:03d}" / "game.tw-pddl" for number in range(games)]
        for number, path in enumerate(paths):
            save_game(tasks[number], path)
    plays = []
    for number, path in enumerate(paths):
        payload = game_payload(path.read_text(encoding="utf-8"), str(path))
        game = open_game(payload["problem"], Dialect.from_json(payload["grammar"]))
        state, wish, rng, actions = game.initial, Wish.of(game), random.Random(number), []
        while len(actions) < steps:
            commands = game.situation(state).commands
            acting = [c for c in commands if not c.startswith(("go ", "inventory", "help"))]
            action = rng.choice(acting) if rng.random() < 0.6 else rng.choice(commands)
            step = game.act(state, action)
            if step is None or goal_holds(wish, game, step.state):
                continue  # a random walk that wins would stop before the other engine's
            state = step.state
            actions.append(action)
        plays.append({"path": str(path), "actions": actions})
    (folder / "plays.json").write_text(json.dumps(plays), encoding="utf-8")


def play_ours(folder: Path) -> dict[str, Any]:
    """Load, reset and play every game through Gymnasium."""
    import gymnasium as gym

    import cmat_gym  # noqa: F401 - registers the ids

    gym.make("cmat/ALFWorld-v0")  # imports are not part of a load
    loads, steps, pages = [], [], []
    for play in json.loads((folder / "plays.json").read_text(encoding="utf-8")):
        env = gym.make(
            "cmat/ALFWorld-v0", source=play["path"], memory=None, max_turns=1000, list_actions=False, feedback=False
        )
        seen: list[Any] = []
        # Reading and compiling the file is part of the first reset.
        loads.append(seconds(lambda env=env, seen=seen: seen.append(env.reset(seed=0))))  # type: ignore[misc]
        for action in play["actions"]:
            steps.append(seconds(lambda env=env, seen=seen, action=action: seen.append(env.step(action))))  # type: ignore[misc]
        pages.append([[result[0], result[-1]["admissible_actions"]] for result in seen])
    return {"loads": loads, "steps": steps, "pages": pages, "memory": memory_mb()}


def play_original(folder: Path) -> dict[str, Any]:
    """The same in the original engine."""
    from alfworld_reference import Reference, Shown

    Reference()  # its imports are not part of a load
    loads, steps, pages, sizes = [], [], [], []
    for play in json.loads((folder / "plays.json").read_text(encoding="utf-8")):
        engine = Reference()
        seen: list[Shown] = []
        loads.append(
            seconds(
                lambda engine=engine, seen=seen, play=play: (engine.load(play["path"]), seen.append(engine.reset()))
            )  # type: ignore[misc]
        )
        for action in play["actions"]:
            steps.append(seconds(lambda engine=engine, seen=seen, action=action: seen.append(engine.step(action))))  # type: ignore[misc]
        pages.append([[page.observation, page.commands] for page in seen])
        engine.close()
        sizes.append(memory_mb())
    growth = (sizes[-1] - sizes[1]) / max(1, len(sizes) - 2)
    return {"loads": loads, "steps": steps, "pages": pages, "memory": sizes[-1], "growth": growth}


def measure_rest(folder: Path, episodes: int) -> dict[str, Any]:
    """Snapshots, plans, and memory over many episodes and many environments."""
    import gymnasium as gym

    import cmat_gym  # noqa: F401 - registers the ids
    from cmat_gym.core.env import base_env, restore, snapshot
    from cmat_gym.envs.alfworld.backend import open_game
    from cmat_gym.envs.alfworld.expert import ALFWorldExpert
    from cmat_gym.envs.alfworld.gamefile import game_payload
    from cmat_gym.envs.alfworld.records import Dialect

    plays = json.loads((folder / "plays.json").read_text(encoding="utf-8"))
    plans = []
    for play in plays:
        payload = game_payload(Path(play["path"]).read_text(encoding="utf-8"), play["path"])
        game = open_game(payload["problem"], Dialect.from_json(payload["grammar"]))
        state = game.initial
        for action in play["actions"][:STATES]:
            expert = ALFWorldExpert(game)  # one that remembers nothing
            plans.append(seconds(lambda expert=expert, state=state: expert.plan(state)))  # type: ignore[misc]
            step = game.act(state, action)
            assert step is not None
            state = step.state

    env = gym.make("cmat/ALFWorld-v0", source=plays[0]["path"], memory=None, max_turns=1000)
    env.reset(seed=0)
    for action in plays[0]["actions"]:
        env.step(action)
    saved: list[Any] = []
    saves = [seconds(lambda: saved.append(snapshot(env))) for _ in range(SNAPSHOTS)]
    restores = [seconds(lambda: restore(env, saved[0])) for _ in range(SNAPSHOTS)]

    shaped = gym.make("cmat/ALFWorld-v0", source=plays[0]["path"], memory=None, max_turns=1000, reward="progress")
    shaped.reset(seed=0)
    progress = [seconds(lambda action=action: shaped.step(action)) for action in plays[0]["actions"]]  # type: ignore[misc]

    environments = [gym.make("cmat/ALFWorld-v0", source=p["path"]) for p in (plays * ENVIRONMENTS)[:ENVIRONMENTS]]
    for environment in environments:
        environment.reset(seed=0)
        environment.step(base_env(environment).expert_action())
    many = memory_mb()

    sizes = []
    env = gym.make("cmat/ALFWorld-v0", memory=None)
    for episode in range(episodes):
        env.reset(options={"task": episode})
        for _ in range(2):
            env.step(base_env(env).expert_action())
        sizes.append(memory_mb())
    return {
        "plans": plans,
        "saves": saves,
        "restores": restores,
        "progress": progress,
        "many": many,
        "early": sizes[episodes // 10],
        "late": sizes[-1],
    }


# The table ------------------------------------------------------------------------------------------------------------


def show(name: str, value: str, target: str = "", original: str = "", ratio: str = "") -> None:
    """One line of the table."""
    print(f"{name:<50}{value:>12}{target:>12}{original:>12}{ratio:>10}")


def run(part: str, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run a part in a process of its own."""
    command = [sys.executable, __file__, "--part", part, "--folder", str(folder)]
    command += ["--games", str(arguments.games), "--steps", str(arguments.steps)]
    command += ["--episodes", str(arguments.episodes)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    lines = done.stdout.strip().splitlines()  # the original prints on its own as well
    result: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    return result


def main() -> None:
    """Run each part, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", type=int, default=20)
    parser.add_argument("--steps", type=int, default=25, help="actions a game")
    parser.add_argument("--episodes", type=int, default=10_000, help="builtin episodes that memory is watched over")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part == "prepare":
        prepare(arguments.folder, arguments.games, arguments.steps)
    elif arguments.part:
        extra = [arguments.episodes] if arguments.part == "rest" else []
        print(json.dumps(PARTS[arguments.part](arguments.folder, *extra)))
    else:
        with tempfile.TemporaryDirectory() as folder:
            compare(Path(folder), arguments)


PARTS: dict[str, Callable[..., Any]] = {
    "prepare": prepare,
    "ours": play_ours,
    "original": play_original,
    "rest": measure_rest,
}


def compare(folder: Path, arguments: argparse.Namespace) -> None:
    """All parts, one after the other."""
    run("prepare", folder, arguments)
    ours, rest = run("ours", folder, arguments), run("rest", folder, arguments)
    original = run("original", folder, arguments) if installed() else None
    median = statistics.median
    where = "published games" if os.environ.get("CMAT_GYM_DATA") else "builtin games"
    print(f"{arguments.games} {where}, {arguments.steps} random actions each; medians")
    show("", "here", "target", "original", "ratio")
    step, load = median(ours["steps"]), median(ours["loads"])
    if original is None:
        print("(the original engine is not installed, see benchmarks/alfworld_reference.py)")
        show("steps/s with the list of commands", f"{1 / step:,.0f}", ">= 10,000")
        show("load + reset, ms", f"{load * 1e3:.2f}", "<= 5")
    else:
        its_step, its_load = median(original["steps"]), median(original["loads"])
        show(
            "steps/s with the list of commands",
            f"{1 / step:,.0f}",
            ">= 10,000",
            f"{1 / its_step:.1f}",
            f"{its_step / step:,.0f} x",
        )
        show("load + reset, ms", f"{load * 1e3:.2f}", "<= 5", f"{its_load * 1e3:,.0f}", f"{its_load / load:,.0f} x")
        show("memory of the process at the end, MB", f"{ours['memory']:.0f}", "", f"{original['memory']:.0f}")
        show("  growth a game, MB", "", "", f"{original['growth']:.1f}")
        pages = sum(map(len, ours["pages"]))
        same = "all equal" if ours["pages"] == original["pages"] else "NOT EQUAL"
        print(f"{pages} observations and lists of commands compared: {same}")
    show("  mean over all steps, steps/s", f"{len(ours['steps']) / sum(ours['steps']):,.0f}")
    show("snapshot, µs", f"{median(rest['saves']) * 1e6:.1f}", "<= 50")
    show("restore, µs", f"{median(rest['restores']) * 1e6:.1f}", "<= 50")
    show("plan of the expert, ms", f"{median(rest['plans']) * 1e3:.3f}", "<= 20")
    show("  longest", f"{max(rest['plans']) * 1e3:.1f}")
    show("steps/s with reward='progress'", f"{1 / median(rest['progress']):,.0f}")
    show(f"{ENVIRONMENTS} environments with memory, MB in all", f"{rest['many']:.0f}", "< 200")
    show(f"memory after {arguments.episodes // 10:,} builtin episodes, MB", f"{rest['early']:.1f}")
    show(f"memory after {arguments.episodes:,}, MB", f"{rest['late']:.1f}", "flat")


if __name__ == "__main__":
    main()
