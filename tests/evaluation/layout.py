"""How a report looks in a real browser, coarsely: a picture of few, large cells that another font does not change much.

`python tests/evaluation/layout.py` writes the references again, after a change of the layout that was looked at.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from cmat_gym.core.memory import LessonStore
from cmat_gym.evaluation.curve import Curve, Point, Series
from cmat_gym.evaluation.evaluate import Evaluation, evaluate
from cmat_gym.evaluation.recorded import evaluations_of
from cmat_gym.evaluation.report import report_html
from cmat_gym.policies.scripted import ExpertPolicy

REFERENCES = Path(__file__).parent / "layout"
WINDOWS = {"desktop": (1280, 1200), "phone": (390, 1500)}
PARTS = {"top": "header", "endings": "#endings-heading", "episodes": "#episodes"}  # what is scrolled to
CELL = 30  # pixels a cell of the coarse picture stands for
PAGE = "<!DOCTYPE html><html><head><style>p{color:green}</style></head><body><p>A page</p></body></html>"


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser."""
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CMAT_GYM_CHROMIUM") or shutil.which("chromium")
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--disable-gpu", "--disable-dev-shm-usage", *root]
        )
        try:
            yield browser
        finally:
            browser.close()


def report(counter_id: str) -> str:
    """A report with all of its parts."""
    from reviewed import reviewed_episodes

    store = LessonStore()
    store.add("Look at the counter before you stop.", "Bring the counter to 7.")
    curve = Curve(
        "iteration", "score", [Series("dev", [Point(0, 0.2, 0.1, 0.3), Point(5, 0.6, 0.5, 0.7)])], {"base": 0.1}
    )
    runs: list[Evaluation] = [
        evaluate(_Stops(), counter_id, 12, name="base"),
        evaluate(ExpertPolicy, counter_id, 12, name="expert"),
        *evaluations_of(reviewed_episodes(counter_id, store)),
    ]
    return report_html(
        runs,
        title="A report",
        curve=curve,
        memory=store,
        trends={"critic/value": [(0, 0.1), (1, 0.4), (2, 0.3)], "policy/kl": [(0, 0.0), (1, 0.01)]},
        settings={"seed": 0},
        pages=lambda episode: [PAGE] * (len(episode.turns) + 1),
    )


class _Stops:
    def act(self, observations: list[str], infos: list[dict[str, Any]]) -> list[str]:
        return ["up" if info["turn"] < 3 else "stop" for info in infos]


def open_report(browser: Any, file: Path, window: str, scheme: str = "light", **options: Any) -> Any:
    """The report in a window of the given kind."""
    width, height = WINDOWS[window]
    page = browser.new_page(
        viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=window == "phone", **options
    )
    page.complaints = []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.goto(file.as_uri())
    return page


def coarse(page: Any, part: str = "top") -> np.ndarray:
    """The window at a part of the report as grey cells, 0 to 255. [height / CELL, width / CELL]"""
    from PIL import Image

    page.evaluate("selector => document.querySelector(selector).scrollIntoView()", PARTS[part])
    picture = Image.open(io.BytesIO(page.screenshot())).convert("L")
    size = (picture.width // CELL, picture.height // CELL)
    return np.asarray(picture.resize(size, Image.Resampling.BOX), dtype=float)


def distance(first: np.ndarray, second: np.ndarray) -> float:
    """Mean difference of two coarse pictures, in grey levels."""
    return float(np.abs(first - second).mean())


def reference(window: str, part: str) -> np.ndarray:
    """The committed picture."""
    from PIL import Image

    return np.asarray(Image.open(REFERENCES / f"{window}-{part}.png"), dtype=float)


def main() -> None:
    """Write the references."""
    import sys
    import tempfile

    from PIL import Image

    sys.path.insert(0, str(Path(__file__).parents[1]))
    import conftest  # registers the counter world

    assert conftest.COUNTER_ID in gym.registry
    REFERENCES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        file = Path(folder) / "report.html"
        file.write_text(report(conftest.COUNTER_ID), encoding="utf-8")
        for window in WINDOWS:
            page = open_report(browser, file, window)
            for part in PARTS:
                Image.fromarray(coarse(page, part).astype(np.uint8)).save(REFERENCES / f"{window}-{part}.png")


if __name__ == "__main__":
    main()
