"""`cmat-gym view`: a run, an evaluation or a file of episodes as one HTML file to step through."""

from __future__ import annotations

import argparse
import webbrowser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import gymnasium as gym

from cmat_gym.cli.console import make_console, plain, print_json
from cmat_gym.cli.environments import Environments
from cmat_gym.core.env import TextEnv, base_env
from cmat_gym.core.errors import CmatError, UsageError
from cmat_gym.core.memory import LessonStore
from cmat_gym.core.registry import world_class
from cmat_gym.core.trajectory import Trajectory
from cmat_gym.evaluation.curve import Curve
from cmat_gym.evaluation.evaluate import Evaluation
from cmat_gym.evaluation.panel import resolve_id
from cmat_gym.evaluation.recorded import read_episodes, read_runs
from cmat_gym.evaluation.report import write_report
from cmat_gym.trainers.recipe_results import learning_curve
from cmat_gym.trainers.run_folder import ACTOR_CRITIC, BASE, SFT, RunFolder, StageResult

HELP = "look at a run, an evaluation or recorded episodes"
DESCRIPTION = (
    "Write one HTML file, which needs neither a server nor a network, with figures, the learning curve, how episodes "
    "ended, memory, the Checker's verdicts and values, and episodes to step through; and open it in the browser."
)
EXAMPLES = """examples:
  cmat-gym view runs/webshop-tiny-seed0        a training run, also while it is not finished
  cmat-gym view results                        what `cmat-gym eval … --out results` wrote
  cmat-gym view mine.jsonl --out mine.html --no-open
"""

TRENDS = (
    "critic/explained_variance", "critic/value", "critic/gap", "rollout/valid_action",
    "policy/kl", "policy/entropy", "loss/policy", "loss/value",
)  # fmt: skip
MEMORY_FILES = ("memory.json", "lessons.json")  # where a folder may keep its long-term memory


@dataclass(frozen=True)
class View:
    """What there is to see."""

    title: str
    evaluations: Sequence[Evaluation]
    curve: Curve | None = None
    trends: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    notes: Sequence[str] = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("path", type=Path, metavar="PATH", help="folder of a run or an evaluation, or FILE.jsonl")
    parser.add_argument(
        "--out", type=Path, metavar="FILE.html", help="the file to write (default: view.html in or beside PATH)"
    )
    parser.add_argument(
        "--episodes", type=int, default=24, metavar="N", help="tasks of a panel to include (default: %(default)s)"
    )
    parser.add_argument(
        "--memory", type=Path, metavar="FILE", help=f"long-term memory to show (default: {' or '.join(MEMORY_FILES)})"
    )
    parser.add_argument(
        "--pages",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="play episodes in shops and web sites again to include their rendered pages (default: yes)",
    )
    parser.add_argument(
        "--open", action=argparse.BooleanOptionalAction, default=True, help="open it in the browser (default: yes)"
    )
    parser.add_argument("--json", action="store_true", help="print what was written as JSON; opens nothing")


def run(args: argparse.Namespace) -> int:
    """Write the file, and open it."""
    if args.episodes < 0:
        raise UsageError(f"--episodes must not be negative, got {args.episodes}")
    view = read_view(args.path)
    out = args.out or (args.path / "view.html" if args.path.is_dir() else args.path.with_suffix(".html"))
    with Environments() as environments:
        pages = PageRecorder(environments)
        write_report(
            out,
            view.evaluations,
            title=view.title,
            curve=view.curve,
            trends=view.trends,
            settings=view.settings,
            memory=_memory(args.path, args.memory),
            episodes=args.episodes,
            pages=pages if args.pages else None,
        )
    notes = [*view.notes, *pages.notes]
    runs = [{"name": run.name, "world": run.panel.env_id, "episodes": len(run.records)} for run in view.evaluations]
    if args.json:
        print_json({"file": str(out), "runs": runs, "notes": notes})
        return 0
    for note in notes:
        make_console(stderr=True).print(plain(note))
    make_console().print(plain(str(out)), soft_wrap=True)
    if args.open:
        webbrowser.open(out.resolve().as_uri())
    return 0


def read_view(path: Path) -> View:
    """Read whatever `path` is.

    Raises:
        UsageError: Nothing that can be viewed.
        TaskError: Its files are damaged.
    """
    if path.is_file():
        return View(path.name, read_episodes(path))
    if (path / "stages").is_dir():
        return _training_run(RunFolder.open(path))
    try:
        runs, left_out = read_runs(path)
    except UsageError as error:
        raise UsageError(
            f"{path} is neither a file of episodes (FILE.jsonl), nor the folder of a training run (stages/), nor one "
            "with evaluations; train, eval --out and play --out write such"
        ) from error
    if not runs:
        raise UsageError(f"No evaluation in {path} can be shown. {left_out[0]}")
    return View(path.resolve().name, runs, notes=left_out)


class PageRecorder:
    """Plays episodes again in worlds that have pages, and takes each turn's page; an episode that differs has none.

    Args:
        environments: Where to play.
    """

    def __init__(self, environments: Environments) -> None:
        self.environments = environments
        self.notes: list[str] = []

    def __call__(self, episode: Trajectory) -> list[str] | None:
        """The page before every turn, and the last one."""
        if episode.error is not None or not _has_pages(episode.env_id):
            return None
        try:
            return self._pages(episode)
        except (CmatError, IndexError) as error:
            self.notes.append(f"No pages of {episode.task_id}: {error}")
            return None

    def _pages(self, episode: Trajectory) -> list[str] | None:
        env = self.environments.of(episode)
        world = base_env(env)
        env.reset(seed=0, options={"task": episode.task_id})
        pages = [world.page_html()]
        for turn in episode.turns:
            if turn.notes.get("executed", True):
                info = env.step(turn.action)[-1]
                if info["state_key"] != turn.state_key:
                    self.notes.append(f"No pages of {episode.task_id}: it does not replay as it was recorded")
                    return None
            pages.append(world.page_html())
        found = [page for page in pages if page is not None]
        return found if len(found) == len(pages) else None


def _has_pages(env_id: str) -> bool:
    """Whether this is a registered world that can show its pages; nothing is made to find out."""
    try:
        world = gym.spec(resolve_id(env_id)).kwargs.get("world")
    except CmatError:
        return False
    return world is not None and world_class(world).page_html is not TextEnv.page_html


def _training_run(folder: RunFolder) -> View:
    """A run as far as it has come: the test panel once every stage has played it, else the dev panel."""
    known = [BASE, SFT, ACTOR_CRITIC]
    files = sorted((folder.path / "stages").glob("*.json"), key=lambda file: file.stat().st_mtime)
    others = [file.stem for file in files if file.stem not in known]
    stages = [stage for name in (*known, *others) if (stage := folder.load_stage(name)) is not None]
    if not stages:
        raise UsageError(f"{folder.path} has no finished stage yet: the first one is finished within minutes")
    config = folder.config
    return View(
        f"{config.env_id}: {config.model}",
        _evaluations(stages),
        learning_curve(folder, stages),
        _trends(folder),
        config.to_json(),
    )


def _evaluations(stages: Sequence[StageResult]) -> list[Evaluation]:
    tests = [stage.test for stage in stages if stage.test is not None]
    return tests if len(tests) == len(stages) else [stage.dev for stage in stages]


def _trends(folder: RunFolder) -> dict[str, list[tuple[float, float]]]:
    rows = folder.history(ACTOR_CRITIC)
    return {
        name: points
        for name in TRENDS
        if (points := [(float(row.step), row.metrics[name]) for row in rows if name in row.metrics])
    }


def _memory(path: Path, given: Path | None) -> LessonStore | None:
    if given is not None:
        return LessonStore.load(given)
    folder = path if path.is_dir() else path.parent
    found = next((folder / name for name in MEMORY_FILES if (folder / name).is_file()), None) if path.is_dir() else None
    return None if found is None else LessonStore.load(found)
