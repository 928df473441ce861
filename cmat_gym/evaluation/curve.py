"""Learning curves: as SVG inside the HTML report, and as a PNG file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import NamedTuple

from cmat_gym.core.errors import UsageError, require

__all__ = ["Curve", "Point", "Series", "curve_png", "curve_svg"]

_WIDTH, _HEIGHT = 960, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 170, 32, 40  # margins; names of the lines stand in the right one
_LINE = 15  # least distance between two names


class Point(NamedTuple):
    """A value, with the bounds of its interval where it has one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """One line of a chart."""

    name: str
    points: Sequence[Point]

    def band(self) -> list[tuple[float, float, float]]:
        """x, low and high of the points that have an interval."""
        return [(x, low, high) for x, _, low, high in self.points if low is not None and high is not None]


@dataclass(frozen=True)
class Curve:
    """What a learning curve shows.

    Attributes:
        x_label: What x counts.
        y_label: What y measures; the axis spans 0 to 1.
        series: The lines, with a band where their points have intervals.
        references: Name -> value of dashed level lines, such as the score before training.
    """

    x_label: str
    y_label: str
    series: Sequence[Series]
    references: Mapping[str, float] = field(default_factory=dict)

    def span(self) -> tuple[float, float]:
        """Least and greatest x, never equal.

        Raises:
            UsageError: There is no point to draw.
        """
        xs = [point.x for series in self.series for point in series.points]
        if not xs:
            raise UsageError("A curve needs at least one point")
        return min(xs), max(max(xs), min(xs) + 1)


@dataclass(frozen=True)
class _Scale:
    """From values to positions in the drawing."""

    first: float
    last: float

    def x(self, value: float) -> float:
        return round(_LEFT + (value - self.first) / (self.last - self.first) * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        return round(_TOP + (1 - min(1.0, max(0.0, value))) * (_HEIGHT - _TOP - _BOTTOM), 1)


def curve_svg(curve: Curve) -> str:
    """Draw a curve as an SVG element whose colours come from the page's style sheet."""
    scale = _Scale(*curve.span())
    summary = "; ".join(
        [f"{series.name}: {series.points[0].y:.3f} to {series.points[-1].y:.3f}" for series in curve.series]
        + [f"{name}: {value:.3f}" for name, value in curve.references.items()]
    )
    parts = [
        f'<svg class="curve" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-labelledby="curve-title curve-desc">',
        f'<title id="curve-title">{escape(curve.y_label)} over {escape(curve.x_label)}</title>',
        f'<desc id="curve-desc">{escape(summary)}</desc>',
        *_svg_axes(curve, scale),
        *(line for number, series in enumerate(curve.series) for line in _svg_series(curve, series, number, scale)),
        *_svg_names(curve, scale),
        "</svg>",
    ]
    return "\n".join(parts)


def _svg_axes(curve: Curve, scale: _Scale) -> list[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    lines: list[str] = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = scale.y(tick)
        lines.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y}" y2="{y}"/>')
        lines.append(f'<text class="tick" x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{tick:g}</text>')
    for tick in _ticks(scale.first, scale.last):
        lines.append(f'<text class="tick" x="{scale.x(tick)}" y="{bottom + 17}" text-anchor="middle">{tick:g}</text>')
    for value in curve.references.values():
        lines.append(f'<line class="reference" x1="{_LEFT}" x2="{right}" y1="{scale.y(value)}" y2="{scale.y(value)}"/>')
    middle = (_LEFT + right) / 2
    lines.append(
        f'<text class="axis" x="{middle}" y="{_HEIGHT - 4}" text-anchor="middle">{escape(curve.x_label)}</text>'
    )
    lines.append(f'<text class="axis" x="{_LEFT}" y="14">{escape(curve.y_label)}</text>')
    return lines


def _svg_series(curve: Curve, series: Series, number: int, scale: _Scale) -> list[str]:
    lines: list[str] = []
    band = series.band()
    if len(band) > 1:
        edge = [(x, high) for x, _, high in band] + [(x, low) for x, low, _ in reversed(band)]
        lines.append(f'<polygon class="band {_color(number)}" points="{_svg_path(edge, scale)}"/>')
    path = _svg_path([(point.x, point.y) for point in series.points], scale)
    lines.append(f'<polyline class="line {_color(number)}" points="{path}"/>')
    for x, y, low, high in series.points:
        bounds = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
        label = escape(f"{series.name}, {curve.x_label} {x:g}: {y:.3f}{bounds}")
        lines.append(
            f'<circle class="dot {_color(number)}" cx="{scale.x(x)}" cy="{scale.y(y)}" r="3.5">'
            f"<title>{label}</title></circle>"
        )
    return lines


def _svg_names(curve: Curve, scale: _Scale) -> list[str]:
    """The names of the lines at their right ends, moved apart where they would touch."""
    names = [(scale.y(value), "reference-name", name) for name, value in curve.references.items()]
    names += [(scale.y(line.points[-1].y), f"name {_color(n)}", line.name) for n, line in enumerate(curve.series)]
    lines: list[str] = []
    lowest = -float(_LINE)
    for y, style, name in sorted(names):
        lowest = max(y, lowest + _LINE)
        lines.append(f'<text class="{style}" x="{_WIDTH - _RIGHT + 10}" y="{lowest + 4:.1f}">{escape(name)}</text>')
    return lines


def _svg_path(points: Sequence[tuple[float, float]], scale: _Scale) -> str:
    return " ".join(f"{scale.x(x)},{scale.y(y)}" for x, y in points)


def _color(number: int) -> str:
    """Class of the style sheet; the first colour is a grey, kept for the run before training."""
    return f"s{number % 5 + 2}"


def curve_png(curve: Curve, path: str | Path, title: str = "") -> None:
    """Draw a curve into a PNG file.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figures = require("matplotlib.figure", "train")
    figure = figures.Figure(
        figsize=(8, 4), dpi=150, layout="constrained"
    )  # without pyplot: no display, no global state
    axes = figure.subplots()
    for series in curve.series:
        xs, ys = [point.x for point in series.points], [point.y for point in series.points]
        (line,) = axes.plot(xs, ys, marker="o", markersize=4, linewidth=1.8, label=series.name)
        if band := series.band():
            at, lows, highs = zip(*band, strict=True)
            axes.fill_between(at, lows, highs, color=line.get_color(), alpha=0.15, linewidth=0)
    for name, value in curve.references.items():
        axes.axhline(value, color="0.45", linestyle="--", linewidth=1)
        axes.annotate(name, (1, value), xycoords=("axes fraction", "data"), xytext=(4, -3), textcoords="offset points")
    axes.set(xlabel=curve.x_label, ylabel=curve.y_label, ylim=(-0.02, 1.02), title=title)
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="best")
    figure.savefig(path)


def _ticks(first: float, last: float) -> list[float]:
    """At most nine round numbers between the ends."""
    step = 1.0
    while (last - first) / step > 8:
        step *= 2 if str(step)[0] in "15" else 2.5
    start = -(-first // step) * step
    return [start + index * step for index in range(int((last - start) / step) + 1)]
