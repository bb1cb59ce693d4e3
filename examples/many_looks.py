"""Twelve looks for each of five avatars: sent as fast as the quota allows, saved the moment each is ready.

    python examples/many_looks.py
    python examples/many_looks.py --avatars 2 --scenes 3 --out somewhere

Without a key it runs on a sandbox. With HOOX_API_KEY it uses the real API, asks before it spends anything,
and keeps what it paid for in many_looks.db: stopped and run again, it goes on where it was.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

from _workspace import is_real, workspace

from hoox_async import (
    BatchItem,
    BatchReport,
    BatchRunner,
    HooxError,
    LookEdit,
    Outcome,
    OutcomeState,
    PromptAvatar,
    Style,
)

AVATARS = {
    "alex": "Young entrepreneur, confident smile",
    "mara": "Fitness coach in her thirties, short dark hair",
    "jonas": "Friendly teacher with a beard and round glasses",
    "priya": "Product designer, curious look, colourful shirt",
    "walter": "Retired sea captain, white hair, weathered face",
}
SCENES = {
    "podcast": ("Podcast studio, warm light, speaking into a large microphone", "podcast"),
    "car": ("In the driver's seat of a parked car, soft morning light", "car"),
    "stage": ("On a small stage, blue light behind, one hand raised", "conference"),
    "selfie": ("Selfie on a rooftop at sunset, the city behind", "selfie"),
    "kitchen": ("In a bright kitchen, holding a cup of coffee", "iphone"),
    "street": ("Walking down a busy street, out of focus behind", "iphone"),
    "office": ("At a standing desk in a quiet office, plants behind", "iphone"),
    "library": ("Between the shelves of an old library, lamp light", "iphone"),
    "beach": ("On a windy beach, grey sky, hair moving", "selfie"),
    "workshop": ("In a wood workshop, dust in the light of a window", "iphone"),
    "train": ("By the window of a train, fields rushing past", "selfie"),
    "garden": ("In a green garden after the rain", "iphone"),
}


def items(avatars: int, scenes: int) -> Iterator[BatchItem]:
    """Each avatar, then its looks: a look names its source by the avatar's key."""
    for name, prompt in list(AVATARS.items())[:avatars]:
        yield BatchItem(name, PromptAvatar(prompt, name=name.title()))
    for scene, (prompt, style) in list(SCENES.items())[:scenes]:
        for name in list(AVATARS)[:avatars]:
            yield BatchItem(f"{name}/{scene}", LookEdit(name, prompt, style=Style(style)))


async def main(avatars: int, scenes: int, out: Path, *, sure: bool) -> int:
    """Make them all. The number of those that are not there in the end."""
    total = len(list(items(avatars, scenes)))
    outcomes: list[Outcome] = []
    async with workspace(store="many_looks.db") as session:
        runner = BatchRunner(session)
        estimate = await runner.estimate(items(avatars, scenes))
        print(f"{estimate.count} of {total} looks to make, {estimate.credits} credits")
        if is_real() and not (sure or input("Spend them? [y/N] ").lower() == "y"):
            return total
        async with runner.stream(items(avatars, scenes)) as stream:
            async for outcome in stream:
                outcomes.append(outcome)
                print(
                    f"{len(outcomes):>4}/{total}  {outcome.key:<20} {outcome.state.value:<8} {note(outcome)}"
                )
                if outcome.state is OutcomeState.READY:
                    path = out / f"{outcome.key}.jpg"
                    try:
                        await session.download(outcome, path, overwrite=True)
                    except HooxError as error:
                        print(
                            f"{outcome.key}: the look is ready, its picture is not: {error}", file=sys.stderr
                        )
    report = BatchReport(outcomes)
    print(table(report, list(AVATARS)[:avatars]))
    print(
        f"{report.credits_spent} credits spent, {report.credits_at_risk} at risk; the pictures are in {out}"
    )
    return total - len(report.ready)


def note(outcome: Outcome) -> str:
    """How long it took, or what went wrong."""
    if outcome.error is not None:
        return str(outcome.error)
    if outcome.submitted_at is None or outcome.settled_at is None:
        return ""
    return f"{(outcome.settled_at - outcome.submitted_at).total_seconds():.1f} s"


def table(report: BatchReport, avatars: list[str]) -> str:
    """One line an avatar."""
    lines = [f"\n{'avatar':<12}{'ready':>8}{'not':>8}{'credits':>10}{'median s':>10}"]
    for name in avatars:
        mine = BatchReport([o for o in report if o.key == name or o.key.startswith(f"{name}/")])
        ready = len(mine.ready)
        seconds = f"{mine.median_seconds:.1f}" if mine.median_seconds is not None else "-"
        lines.append(f"{name:<12}{ready:>8}{len(mine) - ready:>8}{mine.credits_spent!s:>10}{seconds:>10}")
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--avatars", type=int, default=len(AVATARS), help="how many avatars (default: all 5)")
    parser.add_argument("--scenes", type=int, default=len(SCENES), help="how many scenes (default: all 12)")
    parser.add_argument("--out", type=Path, default=Path("looks"), help="folder of the pictures")
    parser.add_argument("--yes", action="store_true", help="spend the credits without asking")
    return parser.parse_args()


if __name__ == "__main__":
    given = arguments()
    missing = asyncio.run(main(given.avatars, given.scenes, given.out, sure=given.yes))
    sys.exit(1 if missing else 0)
