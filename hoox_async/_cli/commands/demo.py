"""``demo``: makes avatars, looks, pictures and a contact sheet on a sandbox, without a key."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from statistics import median
from typing import NamedTuple

from hoox_async import (
    BatchItem,
    BatchReport,
    BatchRunner,
    ConfigurationError,
    Format,
    ImageAvatar,
    LookEdit,
    Outcome,
    PromptAvatar,
    Resolution,
    Style,
)
from hoox_async._core.formatting import format_amount, format_count, format_credits, format_duration

from ..batch.run import PictureTarget, RunResult, RunState, TerminalRun
from ..exit_codes import Exit
from ..options import Output
from ..pictures import INDEX_NAME
from ..terminal import Terminal, require_modules, shown_path

_SPEED = 16.0
_PER_MINUTE = 1200
_FAILURES = 0.05
_SEED = 72619
"""This seed draws six people who are easy to tell apart, and lets three looks fail."""


class Scene(NamedTuple):
    """A look that can be made of any avatar."""

    key: str
    prompt: str
    style: Style
    format: Format = Format.VERTICAL
    resolution: Resolution = Resolution.TWO_K


AVATARS: dict[str, PromptAvatar | ImageAvatar] = {
    "alex": PromptAvatar("Young entrepreneur, confident smile, first day of the new office", name="Alex"),
    "mara": PromptAvatar(
        "Physiotherapist, calm and friendly, at the end of a long day", style=Style.SELFIE, name="Mara"
    ),
    "noor": ImageAvatar(
        ["https://images.example/noor/front.jpg", "https://images.example/noor/left.jpg"], name="Noor"
    ),
    "theo": PromptAvatar(
        "History teacher, patient look, about to explain something", style=Style.PODCAST, name="Theo"
    ),
    "yuki": ImageAvatar(["https://images.example/yuki/portrait.jpg"], name="Yuki", place="studio"),
    "ines": PromptAvatar(
        "Pastry chef after the morning shift, laughing", resolution=Resolution.FOUR_K, name="Ines"
    ),
}
_WIDE, _4K = Format.HORIZONTAL, Resolution.FOUR_K
SCENES = (
    Scene("podcast", "Podcast studio, warm light, speaking into a large microphone", Style.PODCAST),
    Scene("stage", "Keynote on a small stage, blue light behind, open hands", Style.CONFERENCE, _WIDE),
    Scene("commute", "In the driver's seat at a red light, morning sun from the side", Style.CAR),
    Scene("kitchen", "Kitchen counter on a Sunday, coffee in hand, plants at the window", Style.IPHONE),
    Scene("beach", "Beach at golden hour, wind in the hair, linen shirt", Style.SELFIE),
    Scene("library", "Between tall library shelves, one book open, quiet smile", Style.RAW),
    Scene("gym", "Gym in the early morning, towel around the neck, out of breath", Style.SELFIE),
    Scene("office", "Glass office high above the city, laptop half closed", Style.IPHONE, _WIDE),
    Scene(
        "rain", "Rainy street at night, umbrella, neon reflections on the asphalt", Style.RAW, resolution=_4K
    ),
    Scene("market", "Saturday market, crates of oranges, holding one up to the camera", Style.IPHONE),
    Scene("panel", "Panel discussion, name card on the table, listening closely", Style.CONFERENCE, _WIDE),
    Scene("roadtrip", "Passenger seat on a mountain road, window down, sunglasses", Style.CAR, _WIDE),
    Scene("garden", "Back garden after the rain, watering can, late light", Style.IPHONE),
    Scene("rooftop", "Rooftop at dusk, string lights, the skyline out of focus", Style.SELFIE),
    Scene("interview", "Late-night interview, two armchairs, dark red curtain", Style.PODCAST, _WIDE),
    Scene("workshop", "Woodworking bench, shavings everywhere, pencil behind the ear", Style.RAW),
    Scene("snow", "First snow in the park, red scarf, visible breath", Style.SELFIE, resolution=_4K),
    Scene("classroom", "In front of a full blackboard, chalk in hand, mid-sentence", Style.CONFERENCE),
    Scene("train", "Window seat on an evening train, headphones, fields passing by", Style.IPHONE, _WIDE),
    Scene("parking", "Parked under trees, seat belt off, telling a story", Style.CAR),
)
LOOKS_EACH = 10


def demo_items() -> list[BatchItem]:
    """The avatars, then ten looks of each; every avatar has its own selection of scenes."""
    made = [BatchItem(key, request) for key, request in AVATARS.items()]
    for n in range(LOOKS_EACH):
        for position, avatar in enumerate(AVATARS):
            scene = SCENES[(7 * position + n) % len(SCENES)]
            request = LookEdit(
                avatar,
                scene.prompt,
                style=scene.style,
                format=scene.format,
                resolution=scene.resolution,
            )
            made.append(BatchItem(f"{avatar}/{scene.key}", request))
    return made


def demo(*, out: Path = Path("hoox-demo"), output: Output = Output()) -> int:
    """Make 6 avatars and 60 looks on a sandbox, with a contact sheet.

    Takes about 15 seconds. Needs no key, no credits and no network.

    Parameters
    ----------
    out
        The folder for the pictures and the contact sheet (hoox-demo).
    """
    terminal = output.terminal()
    require_modules("all", {"PIL": "Pillow", "jinja2": "Jinja2"}, "the demo")
    if out.exists() and not (out / INDEX_NAME).exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigurationError(
            f"--out {out}: expected a new or empty folder, or the folder of an earlier demo"
        )
    return asyncio.run(_demo(out, terminal))


async def _demo(out: Path, terminal: Terminal) -> int:
    from hoox_async.sandbox import Sandbox

    items = demo_items()
    state = RunState(len(items), max_credits=None)
    async with Sandbox(
        speed=_SPEED, requests_per_minute=_PER_MINUTE, failures=_FAILURES, seed=_SEED
    ) as sandbox:
        terminal.say(
            f"{format_count(len(AVATARS), 'avatar')} and {format_count(len(items) - len(AVATARS), 'edit')} "
            f"on a sandbox, {_SPEED:g} times as fast as the real API"
        )
        session = sandbox.session(hooks=[state])
        pictures = PictureTarget(out, _name_of, replace=True)
        runner = BatchRunner(session, progress=state.show)
        result = await TerminalRun(session, runner, items, state, terminal, pictures).run()
    if result.interrupted:
        terminal.say(f"stopped; what was saved is in {shown_path(out)}")
        return Exit.UNFINISHED
    report = BatchReport(result.outcomes)
    sheet = await report.write_contact_sheet(
        out / "contact-sheet", title="hoox-async demo", pictures=result.pictures, download=False
    )
    _show(report, result, out, sheet, terminal)
    return Exit.READY


def _name_of(outcome: Outcome) -> PurePosixPath:
    avatar, _, scene = outcome.key.partition("/")
    return PurePosixPath(avatar, scene or "avatar")


def _show(report: BatchReport, result: RunResult, out: Path, sheet: Path, terminal: Terminal) -> None:
    rows = []
    for avatar in AVATARS:
        outcomes = [o for o in report if o.key.partition("/")[0] == avatar]
        rows.append([avatar, *_figures(outcomes), shown_path(out / avatar)])
    rows.append(["all", *_figures(tuple(report)), ""])
    terminal.record(
        "demo",
        ready=len(report.ready),
        failed=len(report.failed),
        credits=format(report.credits_spent, "f"),
        seconds=round(result.seconds, 1),
        pictures=len(result.pictures),
        folder=str(out),
        sheet=str(sheet),
    )
    if not terminal.as_json:
        columns = ["avatar", "ready", "failed", "credits", "median", "slowest", "pictures"]
        terminal.table(columns, rows, numbers=columns[1:6], total=True)
    terminal.result(
        f"{format_count(len(result.pictures), 'picture')} in {shown_path(out)} "
        f"after {format_duration(result.seconds)}; "
        f"{format_credits(report.credits_spent)} spent on the sandbox"
    )
    for outcome in report.failed:
        reason = outcome.look.error if outcome.look else ""
        terminal.say(f"  {outcome.key} failed (the sandbox lets some fail): {reason}")
    terminal.result(f"contact sheet: {sheet}")


def _figures(outcomes: Sequence[Outcome]) -> list[str]:
    found = BatchReport(outcomes)
    middle = median(found.seconds) if found.seconds else None
    slowest = found.slowest_seconds
    return [
        str(len(found.ready)),
        str(len(found.failed)),
        format_amount(found.credits_spent),
        format_duration(middle) if middle is not None else "",
        format_duration(slowest) if slowest is not None else "",
    ]
