"""Draws the chart of `quota.py`: looks known over time, ours, theirs and the bound."""

from __future__ import annotations

from pathlib import Path

from _worlds import Result

_INK, _MUTED, _OURS, _THEIRS, _BOUND = "#1f2933", "#7b8794", "#0b7285", "#c2410c", "#9aa5b1"


def draw(folder: Path, results: dict[str, list[Result]], ours: str, theirs: str) -> None:
    """Write quota.svg and quota.png: the first seed's runs."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    mpl.rcParams.update({"font.family": "DejaVu Sans", "svg.fonttype": "path", "svg.hashsalt": "hoox"})
    mine, peer = results[ours][0], results[theirs][0]
    figure, axes = plt.subplots(figsize=(9, 4.6), dpi=150)
    figure.patch.set_facecolor("white")
    count = len(mine.done_at)
    lines = [
        (mine.ideal, _BOUND, (0, (2, 1.5))),
        (mine.done_at, _OURS, "solid"),
        (peer.done_at, _THEIRS, "solid"),
    ]
    for times, colour, style in lines:
        axes.plot([t / 60 for t in times], range(1, count + 1), color=colour, linestyle=style, linewidth=2)
    _label(axes, mine.done_at, 0.955, f"hoox-async: {mine.done_at[-1] / 60:.1f} min", _OURS, left=False)
    _label(axes, peer.done_at, 0.55, f"{theirs}: {peer.done_at[-1] / 60:.1f} min", _THEIRS, left=False)
    _label(axes, mine.ideal, 0.55, "as fast as the quota\ncould ever allow", _MUTED, left=True)
    _finish(axes, count)
    figure.tight_layout()
    folder.mkdir(parents=True, exist_ok=True)
    for kind in ("svg", "png"):
        figure.savefig(folder / f"quota.{kind}", metadata={"Date": None} if kind == "svg" else None)
    plt.close(figure)


def _label(axes: object, times: object, share: float, text: str, colour: str, *, left: bool) -> None:
    place = int(share * len(times)) - 1  # type: ignore[arg-type]
    at = times[place] / 60  # type: ignore[index]
    side = {"ha": "right", "xytext": (-10, 0)} if left else {"ha": "left", "xytext": (12, -10)}
    axes.annotate(  # type: ignore[attr-defined]
        text, (at, place), textcoords="offset points", color=colour, va="center", fontsize=10,
        fontweight="bold", **side,
    )  # fmt: skip


def _finish(axes: object, count: int) -> None:
    axes.set_title(  # type: ignore[attr-defined]
        f"{count:,} looks of 20 avatars, 100 requests a minute, no webhooks",
        loc="left", color=_INK, fontsize=13, fontweight="bold", pad=14,
    )  # fmt: skip
    axes.set_xlabel("minutes", color=_MUTED)  # type: ignore[attr-defined]
    axes.set_ylabel("looks known to be done", color=_MUTED)  # type: ignore[attr-defined]
    axes.set_xlim(left=0)  # type: ignore[attr-defined]
    axes.set_ylim(0, count * 1.03)  # type: ignore[attr-defined]
    axes.grid(axis="y", color="#e4e7eb", linewidth=0.8)  # type: ignore[attr-defined]
    axes.tick_params(colors=_MUTED, length=0)  # type: ignore[attr-defined]
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)  # type: ignore[attr-defined]
    axes.spines["bottom"].set_color("#cbd2d9")  # type: ignore[attr-defined]
