"""The main job's tables: `python benchmarks/main_job.py [--source FOLDER] [--seeds 0 1 2]`.

Runs `cmat-gym train cmat/WebShop-v0` for each seed as a user would, and writes docs/results/webshop-NAME.md with every
stage's figures as they are, the paired gain of each stage, the time it took, and the learning curve of the first seed.
Builtin and real shop get a file each; they are never mixed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cmat_gym.evaluation.evaluate import compare
from cmat_gym.trainers.run_folder import ACTOR_CRITIC, BASE, SFT, RunFolder

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results"
STAGES = (BASE, SFT, ACTOR_CRITIC)


def train(folder: Path, seed: int, options: list[str]) -> float:
    """Run the command; returns its wall time in seconds."""
    command = [sys.executable, "-m", "cmat_gym.cli.main", "train", "cmat/WebShop-v0", "--seed", str(seed)]
    start = time.perf_counter()
    subprocess.run([*command, "--out", str(folder), *options], check=True)
    return time.perf_counter() - start


def seed_section(folder: RunFolder, seed: int, seconds: float) -> list[str]:
    """The table of one run."""
    stages = [stage for name in STAGES if (stage := folder.load_stage(name)) is not None]
    lines = [
        f"## Seed {seed}",
        "",
        (folder.path / "results.md").read_text(encoding="utf-8").strip(),
        "",
        f"Wall time of the whole command: {seconds / 60:.1f} minutes; training "
        + ", ".join(f"{stage.name} {stage.seconds:.0f} s" for stage in stages if stage.name != BASE)
        + " (evaluations on the dev panel included).",
        "",
    ]
    for before, after in itertools.pairwise(stages):
        if before.test is None or after.test is None:
            raise SystemExit(f"{folder.path} is not finished")
        gain = compare(before.test, after.test, "success")
        lines.append(
            f"- {before.name} → {after.name}: success {gain.estimate:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] (paired)"
        )
    return [*lines, ""]


def machine() -> str:
    """What it ran on, in a line."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores"
    return f"{device}, Python {platform.python_version()}, torch {torch.__version__.partition('+')[0]}"


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, help="folder of the real shop; the builtin one by default")
    parser.add_argument("--name", help="name of the page (default: builtin or real)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    args, options = parser.parse_known_args()
    name = args.name or ("real" if args.source else "builtin")
    if args.source:
        options += ["--source", str(args.source)]
    RESULTS.mkdir(parents=True, exist_ok=True)
    title = "WebShop-1k, the real shop's 1,000 products" if args.source else "The builtin shop"
    page = [f"# {title}", ""]
    with tempfile.TemporaryDirectory() as scratch:
        for number, seed in enumerate(args.seeds):
            path = Path(scratch) / str(seed)
            seconds = train(path, seed, options)
            folder = RunFolder.open(path)
            if number == 0:
                shutil.copy(path / "curve.png", RESULTS / f"webshop-{name}.png")
                settings: dict[str, Any] = {**folder.config.to_json(), "source": "real" if args.source else "builtin"}
                page += [
                    f"Made by `benchmarks/main_job.py` on {machine()}.",
                    "",
                    f"![learning curve](webshop-{name}.png)",
                    "",
                ]
            page += seed_section(folder, seed, seconds)
    page += ["## Settings", "", "```json", json.dumps(settings, indent=1), "```", ""]
    (RESULTS / f"webshop-{name}.md").write_text("\n".join(page), encoding="utf-8")


if __name__ == "__main__":
    main()
