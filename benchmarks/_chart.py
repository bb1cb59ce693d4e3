"""Draws the chart of `quota.py`: looks known over time, this library's, the usual way's and the bound.

One picture for light pages and one for dark ones, without a background, and small enough for a phone's width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from _worlds import Result


class _Colours(NamedTuple):
    text: str
    muted: str
    ours: str
    usual: str
    bound: str
    grid: str


_THEMES = {
    "quota": _Colours("#1f2328", "#59636e", "#0b7285", "#b93a0a", "#818b98", "#d8dee4"),
    "quota_dark": _Colours("#f0f6fc", "#9198a1", "#3bc9db", "#ff9457", "#7d8590", "#30363d"),
}


def draw(folder: Path, ours: Result, usual: Result) -> None:
    """Write quota.svg and quota_dark.svg of one run each."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams.update({"font.family": "DejaVu Sans", "svg.fonttype": "path", "svg.hashsalt": "hoox"})
    folder.mkdir(parents=True, exist_ok=True)
    for name, colours in _THEMES.items():
        _draw(folder / f"{name}.svg", ours, usual, colours)


def _draw(path: Path, ours: Result, usual: Result, colours: _Colours) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(4.6, 3.9))
    lines = [
        (ours.ideal, colours.bound, (0, (2, 1.5))),
        (ours.done_at, colours.ours, "solid"),
        (usual.done_at, colours.usual, "solid"),
    ]
    for times, colour, style in lines:
        counts = range(1, len(times) + 1)
        axes.plot([t / 60 for t in times], counts, color=colour, linestyle=style, linewidth=2.2)
    took, usually = (f"{run.done_at[-1] / 60:.1f} min" for run in (ours, usual))
    _label(axes, ours.done_at, 0.9, f"hoox-async:\n{took}", colours.ours, right=True)
    usual_text = f"50 at a time,\neach asked for\nevery 10 s:\n{usually}"
    _label(axes, usual.done_at, 0.44, usual_text, colours.usual, right=True)
    _label(axes, ours.ideal, 0.62, "the quota's\nown limit", colours.muted, right=False)
    _finish(axes, len(ours.done_at), colours)
    figure.tight_layout(pad=0.4)
    figure.savefig(path, metadata={"Date": None}, transparent=True)
    plt.close(figure)


def _label(axes: Any, times: Sequence[float], share: float, text: str, colour: str, *, right: bool) -> None:
    place = int(share * len(times)) - 1
    at = (times[place] / 60, place)
    shift, align = ((9, -8 * len(text.splitlines())), "left") if right else ((-7, 6), "right")
    axes.annotate(
        text, at, textcoords="offset points", xytext=shift, ha=align, va="center", color=colour,
        fontsize=10, fontweight="bold",
    )  # fmt: skip


def _finish(axes: Any, count: int, colours: _Colours) -> None:
    axes.set_title(
        f"{count:,} looks of 20 avatars, polled", loc="left", color=colours.text, fontsize=12,
        fontweight="bold", pad=10,
    )  # fmt: skip
    axes.set_xlabel("minutes, at 100 requests a minute", color=colours.muted, fontsize=10)
    axes.set_ylabel("looks known to be done", color=colours.muted, fontsize=10)
    axes.set_xlim(left=0)
    axes.set_ylim(0, count * 1.03)
    axes.grid(axis="y", color=colours.grid, linewidth=0.8)
    axes.tick_params(colors=colours.muted, length=0, labelsize=10)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(colours.grid)
