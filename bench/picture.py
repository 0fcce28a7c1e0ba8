"""Curves as one SVG, readable on light and dark."""

from collections.abc import Mapping
from math import log10

from .growth import Curve

_WIDTH, _HEIGHT, _LEFT, _TOP = 250, 190, 46, 40  # of one panel
_COLOURS = {"text": "#3b8eea", "jsonl": "#d2761d"}


def draw(panels: Mapping[str, Mapping[str, Curve]]) -> str:
    """Return an SVG with a panel for each title; both axes are logarithmic, and all panels have the same."""
    values = [y for curves in panels.values() for curve in curves.values() for _, y in curve]
    low, high = int(log10(max(1.0, min(values)))), int(log10(max(values))) + 1
    width = _LEFT + len(panels) * _WIDTH
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_TOP + _HEIGHT + 34}" '
        'font-family="sans-serif" font-size="11" fill="#7d8590">',
        f'<text x="4" y="14">Microseconds a request, net (logarithmic). '
        f'<tspan fill="{_COLOURS["text"]}">text</tspan> <tspan fill="{_COLOURS["jsonl"]}">jsonl</tspan></text>',
    ]
    for power in range(low, high + 1):
        y = _y(power, low, high)
        parts.append(f'<path d="M{_LEFT} {y:.0f}H{width - 20}" stroke="#7d8590" stroke-opacity=".3"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.0f}" text-anchor="end">{10**power:,}</text>')
    for number, (title, curves) in enumerate(panels.items()):
        parts += _panel(_LEFT + 10 + number * _WIDTH, title, curves, low, high)
    return "\n".join([*parts, "</svg>", ""])


def _panel(left: int, title: str, curves: Mapping[str, Curve], low: int, high: int) -> list[str]:
    parts = [f'<text x="{left}" y="{_TOP - 8}" font-weight="bold">{title}</text>']
    top = max(log10(x) for curve in curves.values() for x, _ in curve)
    for name, curve in curves.items():
        points = [(left + (_WIDTH - 50) * log10(x) / top, _y(log10(max(y, 1)), low, high)) for x, y in curve]
        line = " ".join(f"{x:.0f},{y:.0f}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{_COLOURS[name]}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.0f}" cy="{y:.0f}" r="3" fill="{_COLOURS[name]}"/>' for x, y in points]
    for (x, _), (size, _) in zip(points, curve, strict=True):
        label = f"{size // 10**6}M" if size >= 10**6 else f"{size // 1000}k" if size >= 1000 else str(size)
        parts.append(f'<text x="{x:.0f}" y="{_TOP + _HEIGHT + 16}" text-anchor="middle">{label}</text>')
    return parts


def _y(power: float, low: int, high: int) -> float:
    return _TOP + _HEIGHT * (1 - (power - low) / (high - low))
