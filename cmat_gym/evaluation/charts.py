"""Small charts as SVG, coloured by the report's style sheet: shares in a bar, a histogram, a value over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["histogram_svg", "shares_svg", "trend_svg"]

_WIDTH, _HEIGHT = 320, 96
_FLOOR = 78  # where bars stand and lines end; the axis' names are below


def shares_svg(counts: Mapping[str, int]) -> str:
    """One bar, divided in proportion; the class of a part is its place (`e0`, `e1`, …)."""
    total = sum(counts.values())
    parts: list[str] = []
    left = 0.0
    for place, (name, count) in enumerate(counts.items()):
        width = _WIDTH * count / total if total else 0.0
        if count:
            parts.append(
                f'<rect class="e{place}" x="{left:.1f}" y="0" width="{width:.1f}" height="18">'
                f"<title>{escape(name)}: {count} of {total}</title></rect>"
            )
        left += width
    return _svg("shares", _WIDTH, 18, "How the episodes ended", parts)


def histogram_svg(bars: Sequence[tuple[int, int]]) -> str:
    """Episodes by number of turns, those with success below the others, in at most 40 bars."""
    step = -(-len(bars) // 40) or 1
    grouped = [tuple(map(sum, zip(*bars[at : at + step], strict=True))) for at in range(0, len(bars), step)]
    highest = max((won + lost for won, lost in grouped), default=0) or 1
    width = _WIDTH / max(1, len(grouped))
    parts: list[str] = []
    for place, (won, lost) in enumerate(grouped):
        first, last = place * step, min(place * step + step, len(bars)) - 1
        name = f"{first} turns" if first == last else f"{first} to {last} turns"
        bottom = float(_FLOOR)
        for kind, count in (("e0", won), ("e2", lost)):
            height = (_FLOOR - 16) * count / highest
            bottom -= height
            if count:
                across = f'x="{place * width + 1:.1f}" width="{max(1, width - 2):.1f}"'
                title = f"<title>{name}: {won} with success, {lost} without</title>"
                parts.append(f'<rect class="{kind}" {across} y="{bottom:.1f}" height="{height:.1f}">{title}</rect>')
    parts += [
        f'<line class="grid" x1="0" x2="{_WIDTH}" y1="{_FLOOR}" y2="{_FLOOR}"/>',
        f'<text class="tick" x="0" y="{_HEIGHT - 3}">0</text>',
        f'<text class="tick" x="{_WIDTH}" y="{_HEIGHT - 3}" text-anchor="end">{max(0, len(bars) - 1)} turns</text>',
        f'<text class="tick" x="{_WIDTH}" y="11" text-anchor="end">highest bar: {highest}</text>',
    ]
    return _svg("histogram", _WIDTH, _HEIGHT, "Episodes by number of turns", parts)


def trend_svg(name: str, points: Sequence[tuple[float, float]]) -> str:
    """One value over time, between its own least and greatest."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    left, bottom = min(xs), min(ys)
    across, up = (max(xs) - left) or 1.0, (max(ys) - bottom) or 1.0
    path = " ".join(
        f"{(x - left) / across * _WIDTH:.1f},{_FLOOR - (y - bottom) / up * (_FLOOR - 22):.1f}" for x, y in points
    )
    return _svg(
        "trend",
        _WIDTH,
        _HEIGHT,
        f"{name}: {ys[0]:.3g} to {ys[-1]:.3g}",
        [
            f'<text class="axis" x="0" y="12">{escape(name)}</text>',
            f'<text class="tick" x="{_WIDTH}" y="12" text-anchor="end">{min(ys):.3g} … {max(ys):.3g}</text>',
            f'<line class="grid" x1="0" x2="{_WIDTH}" y1="{_FLOOR}" y2="{_FLOOR}"/>',
            f'<polyline class="line s2" points="{path}"/>',
            f'<text class="tick" x="0" y="{_HEIGHT - 3}">{left:g}</text>',
            f'<text class="tick" x="{_WIDTH}" y="{_HEIGHT - 3}" text-anchor="end">{max(xs):g}</text>',
        ],
    )


def _svg(kind: str, width: int, height: int, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg class="{kind}" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )
