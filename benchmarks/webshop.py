"""Speed and memory of the shop, beside the original's medians.

CMAT_GYM_DATA=… python benchmarks/webshop.py          # with the real shop, else the builtin one
python benchmarks/webshop.py --sizes 1000 10000       # smaller catalogues for the search
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from cmat_gym.envs.webshop.backend import Session, WebShopBackend, parse_action
from cmat_gym.envs.webshop.generator import BuiltinShopTasks
from cmat_gym.envs.webshop.search import SearchIndex
from cmat_gym.envs.webshop.tasks import open_shop

ORIGINAL = {"steps/s": "47", "search ms": "31", "reset ms": "3.3", "memory MB": "560"}
RECORDINGS = "golden/webshop_text_synthetic.jsonl.xz"
ENVIRONMENTS = 500


def milliseconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1e3


def show(name: str, value: str, target: str, original: str = "") -> None:
    """One line of the table."""
    print(f"{name:<44}{value:>12}{target:>14}{original:>12}")


def memory_mb() -> float:
    """The resident size of this process: now where the system tells, else its largest so far."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * resource.getpagesize() / 2**20


def episodes(data: Path | None) -> list[tuple[str, list[str]]]:
    """Instructions and actions: the recorded episodes, or searches and purchases in the builtin shop."""
    if data is not None:
        lines = lzma.decompress((data / RECORDINGS).read_bytes()).decode().splitlines()
        recordings = [json.loads(line) for line in lines]
        return [(r["goal"]["instruction_text"], [step["action"] for step in r["steps"]]) for r in recordings]
    goals = [BuiltinShopTasks().goal("dev", index) for index in range(100)]
    clicks = ["click[next >]", "click[< prev]", "click[{}]", "click[features]", "click[< prev]", "click[buy now]"]
    return [(g.instruction, [f"search[{g.query}]", *(c.format(g.asin.lower()) for c in clicks)]) for g in goals]


def play(shop: WebShopBackend, instruction: str, actions: Iterable[str], reset_times: list[float]) -> list[float]:
    """Play one episode, pages and action lists included; the time of each step in milliseconds."""
    session = Session()

    def look() -> None:
        shop.render(session, instruction)
        shop.clickables(session)

    def act(action: str) -> None:
        nonlocal session
        parts = parse_action(action)
        if parts is not None:
            session = shop.step(session, *parts).session
        look()

    reset_times.append(milliseconds(look))
    return [milliseconds(lambda action=action: act(action)) for action in actions]  # type: ignore[misc]


def measure_shop(data: Path | None) -> None:
    """Steps, resets and memory of one shop, in a process that has done nothing else."""
    shop = open_shop(data or "builtin").backend
    resets: list[float] = []
    steps: list[float] = []
    rates: list[float] = []
    searches: list[float] = []
    played = episodes(data)
    for _ in range(5):
        shop = WebShopBackend(shop.products, shop.index)  # no search is remembered from the round before
        times = [play(shop, instruction, actions, resets) for instruction, actions in played]
        steps = [step for episode in times for step in episode]
        rates.append(len(steps) / sum(steps) * 1e3)
    for instruction, _ in played:
        searches.append(milliseconds(lambda text=instruction: shop.index.search(text)))  # type: ignore[misc]
    where = "WebShop-1k" if data else "builtin, 1,000 products"
    show(f"steps/s, {where}", f"{statistics.median(rates):,.0f}", ">= 2,000", ORIGINAL["steps/s"])
    show("  median step, ms", f"{statistics.median(steps):.4f}", "")
    show("reset, ms", f"{statistics.median(resets):.4f}", "<= 0.2", ORIGINAL["reset ms"])
    show(f"search, ms, {where}", f"{statistics.median(searches):.3f}", "< 0.5", ORIGINAL["search ms"])
    show("memory of the process, MB", f"{memory_mb():.0f}", "<= 120", ORIGINAL["memory MB"])


def measure_environments(data: Path | None) -> None:
    """Steps through Gymnasium, and what an environment adds to a process that has the shop."""
    import gymnasium as gym

    import cmat_gym  # noqa: F401 - registers the ids

    def make() -> gym.Env[str, str]:
        env: gym.Env[str, str] = gym.make("cmat/WebShop-v0", source=data or "builtin", memory=None)
        env.reset(seed=0)
        return env

    env = make()
    rates: list[float] = []
    for _, actions in episodes(data):
        env.reset()
        # The last action of a recording buys, so every episode ends with its last step.
        rates.append(len(actions) / milliseconds(lambda actions=actions: [env.step(a) for a in actions]) * 1e3)  # type: ignore[misc]
    show("steps/s through gym.make(…, memory=None)", f"{statistics.median(rates):,.0f}", ">= 2,000", "")
    before = memory_mb()
    environments = [make() for _ in range(ENVIRONMENTS)]
    show("memory of each further environment, MB", f"{(memory_mb() - before) / len(environments):.3f}", "<= 5")


def measure_search(size: int) -> None:
    """Build time, size and query time of an index over builtin products."""
    tasks = BuiltinShopTasks(size=size)
    texts = [product.search_text for product in tasks.catalogue]
    built: list[SearchIndex] = []
    build_ms = milliseconds(lambda: built.append(SearchIndex.build(texts)))
    (index,) = built
    queries = [tasks.goal("dev", number).instruction for number in range(200)]
    times = [milliseconds(lambda query=query: index.search(query)) for query in queries]  # type: ignore[misc]
    target = {1_000: "< 0.5", 100_000: "<= 2"}.get(size, "")
    show(f"search, ms, builtin, {size:,} products", f"{statistics.median(times):.3f}", target)
    show("  90 % of searches are below, ms", f"{float(np.quantile(times, 0.9)):.3f}", "")
    show("  build of the index, s", f"{build_ms / 1e3:.2f}", "")


def main() -> None:
    """Run each part in a process of its own, so that none inherits memory or caches."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[1_000, 10_000, 100_000], help="builtin catalogues")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    folder = os.environ.get("CMAT_GYM_DATA")
    data = Path(folder) if folder else None
    if arguments.part == "shop":
        measure_shop(data)
    elif arguments.part == "environments":
        measure_environments(data)
    elif arguments.part:
        measure_search(int(arguments.part))
    else:
        show("", "here", "target", "original")
        for part in ("shop", "environments", *map(str, arguments.sizes)):
            sys.stdout.flush()
            subprocess.run([sys.executable, __file__, "--part", part], check=True)


if __name__ == "__main__":
    main()
