"""Speed of the web world, beside a bare parser and a real browser, all measured in one run.

python benchmarks/mind2web.py                 # everything; Chromium where it is installed
python benchmarks/mind2web.py --parts live    # live | static | parsers | chromium
python benchmarks/mind2web.py --cpu           # processor time: what counts on a machine that others use too
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from lxml import etree, html

import cmat_gym  # noqa: F401 - registers the ids
from cmat_gym.core.env import base_env
from cmat_gym.envs.mind2web.dom import parse_page
from cmat_gym.envs.mind2web.pruning import parse_cleaned, prune

MIND2WEB = "cmat/Mind2Web-v0"
PARTS = ("live", "static", "parsers", "chromium")
EPISODES = 300
CLOCK: Callable[[], float] = time.process_time if "--cpu" in sys.argv else time.perf_counter


def milliseconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    start = CLOCK()
    work()
    return (CLOCK() - start) * 1e3


def median(work: Callable[[], object], rounds: int = 15) -> float:
    """The middle of several times."""
    return statistics.median(milliseconds(work) for _ in range(rounds))


def show(name: str, value: str, target: str = "") -> None:
    """One line of the table."""
    print(f"{name:<58}{value:>12}{target:>12}")


def play(env: gym.Env[str, str], episodes: int) -> Iterator[tuple[str, float]]:
    """Kinds and times of resets and steps of the expert, with a detour now and then."""
    rng = np.random.default_rng(0)
    world = base_env(env)
    for seed in range(episodes):
        info: dict[str, Any] = {}
        start = CLOCK()
        _, info = env.reset(seed=seed)
        yield "reset", (CLOCK() - start) * 1e3
        done = False
        for _ in range(25):
            action = world.expert_action()
            listed = [a for a in info.get("admissible_actions", []) if not a.startswith("FINISH")]
            if listed and rng.random() < 0.2:
                action = listed[int(rng.integers(len(listed)))]
            start = CLOCK()
            _, _, terminated, truncated, info = env.step(action)
            yield "step", (CLOCK() - start) * 1e3
            done = terminated or truncated
            if done:
                break


def times(episodes: int, **keywords: Any) -> dict[str, list[float]]:
    """Times of resets and steps of one kind of environment."""
    env = gym.make(MIND2WEB, memory=None, **keywords)
    found: dict[str, list[float]] = {"reset": [], "step": []}
    for kind, value in play(env, episodes):
        found[kind].append(value)
    env.close()
    return found


def live() -> None:
    """Steps and resets through Gymnasium, admissible actions and state key included."""
    found = times(EPISODES)
    show("live step, ms", f"{statistics.median(found['step']):.2f}", "<= 2")
    show("  90 % of steps are below, ms", f"{float(np.quantile(found['step'], 0.9)):.2f}")
    show("live reset (a new site and task each time), ms", f"{statistics.median(found['reset']):.2f}", "<= 3")
    shaped = times(EPISODES // 3, reward="progress")
    show("live step with reward='progress', ms", f"{statistics.median(shaped['step']):.2f}")
    recorded = times(EPISODES // 3, pages="static")
    show("static step on builtin walks, ms", f"{statistics.median(recorded['step']):.2f}")
    env = base_env(gym.make(MIND2WEB, memory=None))
    env.reset(seed=0)
    env.step(env.expert_action())
    state = env.snapshot()
    show("snapshot, ms", f"{median(env.snapshot):.3f}")
    show("restore, ms", f"{median(lambda: env.restore(state)):.2f}")


def page_of(kilobytes: int) -> tuple[str, tuple[str, ...]]:
    """A made-up cleaned page of a size, with ten candidates spread over it."""
    rows: list[str] = []
    size, number = 0, 10
    while size < kilobytes * 1000:
        number += 10
        a, b, c, d, e, f = (f'backend_node_id="{number + n}"' for n in range(6))
        rows.append(
            f'<div {a} class="row item c{number % 7}" role="listitem">\n <a {b} aria_label="open item {number}">'
            f"<text {c}>Item {number} with some words</text></a>\n "
            f'<input {d} type="text" name="q{number}" value="abc"/>\n '
            f"<span {e}><text {f}>price ${number}.99 &amp; more</text></span></div>\n"
        )
        size += len(rows[-1])
    step = max(1, len(rows) // 10)
    candidates = tuple(str(10 + 10 * (n + 1) + 1) for n in range(0, len(rows), step))[:10]
    return f'<html backend_node_id="1"><body backend_node_id="2">{"".join(rows)}</body></html>', candidates


def static() -> None:
    """A static step: parse a page, prune it to its candidates, write it down; nothing is remembered in between."""
    for kilobytes, target in ((10, ""), (100, "<= 5"), (1000, "")):
        page, candidates = page_of(kilobytes)

        def step(page: str = page, candidates: tuple[str, ...] = candidates) -> None:
            parse_cleaned.cache_clear()
            prune.cache_clear()
            assert len(prune(page, candidates).choices) == len(candidates)

        show(f"static step, page of {kilobytes} kB, 10 candidates, ms", f"{median(step):.2f}", target)
        show("  of which bare lxml parse, ms", f"{median(lambda page=page: etree.fromstring(page)):.2f}")  # type: ignore[misc]


def parsers() -> None:
    """Parsers on the same pages: what speaks for lxml."""
    try:
        from selectolax.lexbor import LexborHTMLParser
    except ImportError:
        LexborHTMLParser = None
    env = base_env(gym.make(MIND2WEB, memory=None))
    env.reset(seed=5)
    small = env._play.backend  # type: ignore[attr-defined]
    from cmat_gym.envs.mind2web.backend import document

    live_page = document(small.site, {**small.visit.db, "_popup": ""}, "/")
    for name, page in (
        (f"live page, {len(live_page) / 1000:.1f} kB", live_page),
        ("cleaned page, 100 kB", page_of(100)[0]),
    ):
        show(f"{name}: lxml as HTML, ms", f"{median(lambda p=page: html.document_fromstring(p)):.2f}")  # type: ignore[misc]
        if "cleaned" in name:
            show(f"{name}: lxml as XML, ms", f"{median(lambda p=page: etree.fromstring(p)):.2f}")  # type: ignore[misc]
            show(f"{name}: ElementTree, ms", f"{median(lambda p=page: ET.fromstring(p)):.2f}")  # type: ignore[misc]
        if LexborHTMLParser is not None:
            show(f"{name}: selectolax (lexbor), ms", f"{median(lambda p=page: LexborHTMLParser(p)):.2f}")  # type: ignore[misc]

    def whole() -> None:
        parse_page.cache_clear()
        parse_page(live_page).text({})

    show("live page: parse, number and write down, ms", f"{median(whole):.2f}")


def chromium() -> None:
    """The same steps in a real browser, and how much faster the embedded one is."""
    try:
        found = times(4, backend="chromium")
    except Exception as error:
        show("Chromium", "not here")
        print(f"  {error}")
        return
    embedded = times(4)
    for kind in ("reset", "step"):
        ours, theirs = statistics.median(embedded[kind]), statistics.median(found[kind])
        show(f"Chromium {kind}, ms", f"{theirs:.0f}")
        show(f"  embedded {kind} is faster by", f"{theirs / ours:.0f}x")


def main() -> None:
    """Run each part in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--cpu", action="store_true", help="processor time of this process (not for Chromium)")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        globals()[arguments.part]()
        return
    clock = ["--cpu"] if arguments.cpu else []
    show("processor time" if clock else "time", "here", "target")
    for part in arguments.parts:
        sys.stdout.flush()
        subprocess.run([sys.executable, __file__, "--part", part, *(clock if part != "chromium" else [])], check=True)


if __name__ == "__main__":
    main()
