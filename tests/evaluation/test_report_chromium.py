"""The report in a real browser: its layout on a desk and on a phone, and that it does what it shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import layout
import pytest

pytestmark = pytest.mark.usefixtures("browser")
LIKE_ITSELF = 4.0  # grey levels; another font moves a picture by 0.3 to 1.3, a broken layout by 6 to 30


@pytest.fixture(scope="module")
def chromium(browser: str) -> Iterator[Any]:
    with layout.chromium() as running:
        yield running


@pytest.fixture(scope="module")
def file(counter_id: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(layout.report(counter_id), encoding="utf-8")
    return path


def box(page: Any, selector: str) -> dict[str, float]:
    found = page.locator(selector).first.bounding_box()
    assert found is not None, f"{selector} is not to be seen"
    return found


@pytest.mark.parametrize("window", layout.WINDOWS)
def test_the_layout_looks_like_the_committed_picture(chromium: Any, file: Path, window: str) -> None:
    page = layout.open_report(chromium, file, window)
    for part in layout.PARTS:
        picture, wanted = layout.coarse(page, part), layout.reference(window, part)
        assert picture.shape == wanted.shape
        assert layout.distance(picture, wanted) < LIKE_ITSELF, part
    assert page.complaints == [], "the browser complained, for instance about the content security policy"


@pytest.mark.parametrize("window", layout.WINDOWS)
def test_the_comparison_bears_another_font_and_finds_a_broken_layout(chromium: Any, file: Path, window: str) -> None:
    def worst(style: str) -> float:
        page = layout.open_report(chromium, file, window, bypass_csp=True)
        page.add_style_tag(content=style)
        pictures = {part: layout.coarse(page, part) for part in layout.PARTS}
        return max(layout.distance(picture, layout.reference(window, part)) for part, picture in pictures.items())

    assert worst("body { font-family: serif }") < LIKE_ITSELF
    assert worst("main { max-width: 50% }") > LIKE_ITSELF
    assert worst(".cards { display: block } .run, .card { padding: 3rem }") > LIKE_ITSELF


@pytest.mark.parametrize("window", layout.WINDOWS)
def test_nothing_hangs_over_the_edge_and_everything_can_be_touched(chromium: Any, file: Path, window: str) -> None:
    page = layout.open_report(chromium, file, window)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tasks, stage = box(page, "nav"), box(page, "#stage")
    if window == "desktop":
        assert tasks["x"] + tasks["width"] <= stage["x"]
        assert tasks["y"] == stage["y"]
    else:
        assert tasks["y"] + tasks["height"] <= stage["y"]
        assert tasks["width"] == stage["width"] > 0.9 * box(page, "main")["width"]
        for button in page.locator(".controls button").all():
            assert min(button.bounding_box()["width"], button.bounding_box()["height"]) >= 40


def test_dark_is_dark_and_light_is_light(chromium: Any, file: Path) -> None:
    light, dark = (layout.coarse(layout.open_report(chromium, file, "phone", scheme)) for scheme in ("light", "dark"))
    assert light.mean() > 200
    assert dark.mean() < 70


def test_episodes_are_stepped_through_with_memory_verdicts_values_and_pages(chromium: Any, file: Path) -> None:
    page = layout.open_report(chromium, file, "desktop")
    page.select_option("#filter", "with verdicts of the Checker")
    assert page.locator("#tasks button").count() == 3
    page.locator("#tasks button").first.click()
    run = page.locator(".run").first
    assert "Checker: reject" in run.inner_text()
    assert "not carried out" in run.inner_text()
    assert "not yet" in run.inner_text()
    assert "V(s) 0.75" in run.inner_text()
    assert run.locator(".timeline polyline").count() >= 3
    assert run.locator(".timeline .cross").count() == 1
    page.keyboard.press("ArrowRight")  # the same action again, which the Checker may not hold back twice
    assert "Checker: reject" in run.inner_text()
    assert "not carried out" not in run.inner_text()
    page.keyboard.press("ArrowRight")
    assert "Checker: accept" in run.inner_text()
    run.locator(".memory summary").first.click()
    assert "Look at the counter before you stop." in run.inner_text()
    run.locator(".rendered summary").click()
    frame = run.locator("iframe")
    assert frame.get_attribute("sandbox") == ""
    inside = frame.element_handle().content_frame()
    assert inside.locator("p").inner_text() == "A page"
    assert inside.evaluate("getComputedStyle(document.querySelector('p')).color") == "rgb(0, 128, 0)"
    page.keyboard.press("End")
    assert "success" in run.inner_text()
    assert page.complaints == []


def test_what_a_page_brings_along_does_nothing(chromium: Any, counter_id: str, tmp_path: Path) -> None:
    attack = (
        "<html><body><script>document.body.innerText = 'ran'</script><img src=x onerror=\"document.title='ran'\">"
        "<form action='https://a.org'><button>send</button></form><a href='https://example.org' target=_top>x</a>"
    )
    runs = layout.evaluate(layout.ExpertPolicy, counter_id, 2)
    file = tmp_path / "report.html"
    file.write_text(layout.report_html([runs], pages=lambda episode: [attack] * (len(episode.turns) + 1)))
    page = layout.open_report(chromium, file, "desktop")
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.locator(".rendered summary").first.click()
    inside = page.locator("iframe").first.element_handle().content_frame()
    inside.locator("button").click()
    inside.locator("a").click()
    assert "send" in inside.locator("body").inner_text()
    assert [url for url in requests if url.startswith("http")] == []
    assert page.url == file.as_uri()
    assert inside.title() == ""
