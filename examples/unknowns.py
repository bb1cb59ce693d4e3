"""Settle, from a program, what may have been paid for: show each unknown to a person, carry out the answer.

    python examples/unknowns.py

An unknown is a request that was sent and never answered. Nothing sends it again by itself. With webhooks,
its own delivery mostly settles it within a minute. Else a person looks at the pictures that it may have made
and says which it is. Each decision names the attempt that was looked at, so that it is carried out once,
however often the program is run. ``hoox-async unknowns STORE --open`` does all this with a page in the
browser.

Without a key this runs on a sandbox that loses three answers, and a list in place of a person answers. With
HOOX_API_KEY it asks you about what is unknown in looks.db; "resend" pays once more.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from _workspace import is_real, workspace

from hoox_async import HooxSession, InvalidRequest, LookEdit, OutcomeUnknown, PromptAvatar, Unknown
from hoox_async.sandbox import Fault, Sandbox

ANSWERS = iter(["1", "resend", "drop"])


async def show(session: HooxSession, unknown: Unknown) -> None:
    """Print what was asked for, and the looks that may be its result."""
    request = unknown.request
    print(f"{unknown.key}: {getattr(request, 'prompt', request)!r}, {request.credits} credits")
    for number, ref in enumerate(unknown.candidates, 1):
        details = await session.look(ref)
        print(f"  {number}  {ref}  {details.thumbnail_url or details.status}")


async def carry_out(session: HooxSession, unknown: Unknown, answer: str) -> None:
    """Do what the person said. What was decided already, here or elsewhere, is left as it is."""
    with suppress(InvalidRequest):
        if answer == "resend":  # none of them is it: make it again, and pay once more
            job = await session.resend(unknown.key, attempt=unknown.attempt)
            print(f"  sent again: {job.ref}")
        elif answer == "drop":  # give it up; what it may have cost stays counted as at risk
            await session.drop(unknown.key, attempt=unknown.attempt)
            print("  given up")
        elif answer:
            look = unknown.candidates[int(answer) - 1]
            job = await session.resolve(unknown.key, look, attempt=unknown.attempt)
            print(f"  it is {job.ref}")


async def lose_answers(session: HooxSession) -> None:
    """Three edits whose answers are lost: the sandbox was told so."""
    alex = await session.run(PromptAvatar("Young entrepreneur"), key="alex")
    for scene in ("podcast", "car", "beach"):
        with suppress(OutcomeUnknown):
            await session.submit(LookEdit(alex, f"{scene} scene"), key=f"alex/{scene}")


def lose(sandbox: Sandbox) -> None:
    """Accept three edits, and cut the connection before the answer."""
    sandbox.fail_next("edit", Fault.DROP_AFTER, times=3)


async def main() -> None:
    """Ask about each unknown once. What was decided is a candidate of no other one any more."""
    asked: set[str] = set()
    async with workspace(store="looks.db", trouble=lose) as session:
        if not is_real():
            await lose_answers(session)
        while left := [unknown for unknown in await session.unknowns() if unknown.key not in asked]:
            unknown = left[0]
            asked.add(unknown.key)
            await show(session, unknown)
            question = "  its number, resend, drop, or nothing to decide later: "
            answer = await asyncio.to_thread(input, question) if is_real() else next(ANSWERS)
            await carry_out(session, unknown, answer.strip())
        print(f"{len(await session.unknowns())} unknowns left")


if __name__ == "__main__":
    asyncio.run(main())
