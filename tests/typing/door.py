"""The public door as a user's type checker sees it. Checked by ``tests/test_typing.py``, never run.

The lines that end in ``type: ignore`` are mistakes that a type checker must see: where one is let
through, its comment is unused, and that is an error.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, assert_never, assert_type

import hoox_async as hx
from hoox_async.sandbox import Charge, Fault, Sandbox
from hoox_async.testing import VirtualTimeLoop
from hoox_async.webhooks import WebhookHub

Charged = Literal["no", "maybe", "yes"]


def requests() -> Iterator[hx.Request]:
    """Requests take their enums as members and as plain text, and have a price."""
    prompt = hx.PromptAvatar("Alex", style="iphone", format=hx.Format.VERTICAL, resolution="4K", name="Alex")
    images = hx.ImageAvatar(["https://example.com/a.jpg"], place="studio")
    edit = hx.LookEdit(
        hx.LookRef("avtr_1", "look_1"),
        "podcast scene",
        style=hx.Style.PODCAST,
        images=("https://example.com/logo.png",),
        upscale=True,
        webhook_url="https://example.com/hook",
        metadata={"customer": "7"},
        extra={"seed": 3},
    )
    assert_type(prompt.credits, Decimal)
    assert_type(images.credits, Decimal)
    assert_type(edit.credits, Decimal)
    assert_type(prompt.style, hx.Style)
    assert_type(prompt.resolution, hx.Resolution)
    assert_type(edit.metadata, Mapping[str, str])
    yield from (prompt, images, edit)
    hx.PromptAvatar("Alex", colour="red")  # type: ignore[call-arg]
    hx.LookEdit("key")  # type: ignore[call-arg]


def values(look: hx.Look, details: hx.LookDetails, avatar: hx.Avatar, picture: hx.Picture) -> None:
    """Looks, details, avatars and pictures are frozen values with typed fields."""
    assert_type(look.ref, hx.LookRef)
    assert_type(look.status, hx.LookStatus)
    assert_type(look.thumbnail_url, str | None)
    assert_type(look.error.message if look.error is not None else None, str | None)
    assert_type(hx.LookRef.parse("avtr_1:look_1"), hx.LookRef)
    assert_type(details.status, hx.LookStatus | None)
    assert_type(avatar.looks, tuple[hx.LookDetails, ...])
    assert_type(picture.data, bytes)
    look.status = hx.LookStatus.READY  # type: ignore[misc]


async def calls(session: hx.HooxSession, ref: hx.LookRef) -> None:
    """Each method of the session has the type of what it returns; wrong arguments are seen."""
    edit = hx.LookEdit(ref, "podcast scene")
    budget = hx.Budget(40, name="spring", spent=Decimal("1.5"))
    job = await session.submit(edit, key="alex-podcast", budget=budget, max_wait=5.0)
    assert_type(job, hx.LookJob)
    assert_type(await session.run(edit, key="k", timeout=60.0), hx.Look)
    assert_type(await session.run(edit, budget=budget, max_wait=5.0, timeout=None), hx.Look)
    assert_type(await session.create_avatar("Alex", style="selfie", name="Alex"), hx.LookJob)
    assert_type(await session.create_avatar_from_images(["https://example.com/a.jpg"]), hx.LookJob)
    assert_type(await session.edit_look(job, "car", style=hx.Style.CAR, resolution="4K"), hx.LookJob)
    assert_type(await session.edit_look("avtr_1:look_1", "car"), hx.LookJob)
    await session.edit_look(3, "car")  # type: ignore[arg-type]
    assert_type(await session.status(job), hx.Look)
    assert_type(await session.wait(ref, timeout=60.0), hx.Look)
    assert_type(session.job(ref), hx.LookJob)
    assert_type(await session.jobs(), list[hx.LookJob])
    assert_type(await session.avatar("avtr_1"), hx.Avatar)
    assert_type(await session.look(ref), hx.LookDetails)
    assert_type(await session.looks(gender="female"), list[hx.LookDetails])
    assert_type(
        await session.looks(place=["office", "car"], emotion={"calm"}, selfie=True), list[hx.LookDetails]
    )
    await session.looks(gendr="female")  # type: ignore[call-arg]
    await session.looks(selfie="yes")  # type: ignore[arg-type]
    assert_type(session.quota, hx.QuotaSnapshot)
    assert_type(session.expected_wait(3), float)
    assert_type(await session.health(), hx.SessionHealth)
    assert_type((await session.health()).oldest_unsettled, float | None)
    assert_type((await session.health()).trouble, frozenset[hx.Trouble])
    assert_type(await hx.read_costs("looks.db", by="metadata.customer"), list[hx.Costs])
    await hx.read_costs("looks.db")  # type: ignore[call-arg]
    assert_type(session.quota.resets_at, datetime | None)
    await session.submit("not a request")  # type: ignore[arg-type]
    await session.edit_look(job, "car", colour="red")  # type: ignore[call-arg]
    await session.create_avatar("Alex", style="podkast")  # type: ignore[arg-type]
    await session.create_avatar("Alex", style="raw")
    await session.create_avatar("Alex", resolution="8K")  # type: ignore[arg-type]
    await session.edit_look(job, "car", format="square")  # type: ignore[arg-type]
    assert_type(await session.edit_look(job, "car", style="raw", format="horizontal"), hx.LookJob)
    hx.PromptAvatar("Alex", style="podkast")  # type: ignore[arg-type]
    hx.PromptAvatar("Alex", format="square", resolution="2K")  # type: ignore[arg-type]
    hx.PromptAvatar("Alex", metadata={"order": 7})  # type: ignore[dict-item]
    hx.LookEdit(ref, "car", style="podkast")  # type: ignore[arg-type]
    hx.LookEdit(3, "car")  # type: ignore[arg-type]
    hx.ImageAvatar(3)  # type: ignore[arg-type]
    assert_type(hx.LookEdit("avtr_1:look_1", "car").source, hx.LookRef | str)
    assert_type(hx.LookEdit(job, "car", style="raw", images=["https://a.example/a.jpg"]), hx.LookEdit)
    assert_type(hx.LookEdit("key", "car", style=hx.Style.RAW).style, hx.Style | None)


async def patient(job: hx.LookJob, timeout: float | hx.DefaultTimeout | None = hx.DEFAULT_TIMEOUT) -> hx.Look:
    """A wrapper can have DEFAULT_TIMEOUT as its own default and forward it."""
    await job.wait("60")  # type: ignore[arg-type]
    return await job.wait(timeout)


async def unknowns(session: hx.HooxSession) -> None:
    """Unknowns are listed with their candidates, and resolved, sent again or dropped."""
    for unknown in await session.unknowns():
        assert_type(unknown, hx.Unknown)
        assert_type(unknown.key, str)
        assert_type(unknown.sent_at, datetime | None)
        assert_type(unknown.candidates_from, Literal["avatar", "copies", "name"] | None)
        assert_type(unknown.unlisted, tuple[str, ...])
        for candidate in (*unknown.candidates, *unknown.older):
            await session.resolve(unknown.key, candidate)
        await session.resend(unknown.key)
        await session.drop(unknown.key)
        assert_type(await session.resolve(unknown.key, "avtr_1:look_1"), hx.LookJob)
        assert_type(await session.resend(unknown.key, budget=hx.Budget(4), max_wait=1.0), hx.LookJob)
        await session.resolve(unknown.key, 3)  # type: ignore[arg-type]
        await session.resend(unknown.key, budget=4)  # type: ignore[arg-type]


async def jobs(session: hx.HooxSession, job: hx.LookJob) -> None:
    """A job is awaitable, has updates, and its look can be downloaded."""
    assert_type(await job, hx.Look)
    assert_type(await job.wait(timeout=5), hx.Look)
    assert_type(await job.status(), hx.Look)
    assert_type(job.last, hx.Look)
    assert_type(job.look_id, str)
    async for look in job.updates():
        assert_type(look, hx.Look)
    assert_type(await session.download(await job, "podcast.jpg", overwrite=True), Path)
    picture = assert_type(await session.picture(job.last), hx.Picture)
    assert_type((picture.width, picture.height), tuple[int | None, int | None])


async def endless() -> AsyncIterator[hx.PromptAvatar]:
    """Requests may come from anything that can be iterated over, asynchronously too."""
    yield hx.PromptAvatar("Alex")


async def batches(session: hx.HooxSession) -> None:
    """The runner takes requests and keyed items, lazily, and gives outcomes."""
    runner = hx.BatchRunner(
        session,
        max_in_flight=200,
        max_credits=400,
        max_failures=3,
        look_timeout=600.0,
        on_unknown="hold",
        retry=[hx.OutcomeState.FAILED],
        changed="keep",
        progress=show_progress,
    )
    estimate = await runner.estimate(requests())
    assert_type(estimate, hx.Estimate)
    assert_type(estimate.credits, Decimal)
    async with runner.stream(endless()) as stream:
        assert_type(stream, hx.OutcomeStream)
        async for outcome in stream:
            assert_type(outcome, hx.Outcome)
            assert_type(outcome.state, hx.OutcomeState)
            assert_type(outcome.look, hx.Look | None)
            assert_type(outcome.credits, Decimal)
            assert_type(outcome.evidence, hx.Evidence | None)
            assert_type(outcome.unwrap(), hx.Look)
            runner.stop()
    report = await runner.run([hx.BatchItem("alex", hx.PromptAvatar("Alex")), hx.PromptAvatar("Kim")])
    assert_type(report, hx.BatchReport)
    assert_type(report.outcomes, tuple[hx.Outcome, ...])
    assert_type(report.ready, tuple[hx.Outcome, ...])
    await report.write_contact_sheet("sheet")
    avatar = await session.avatar("avtr_1")
    page = await report.write_unknowns_page(
        "unknowns", candidates=avatar.looks, resolve_command=["hoox-async", "resolve", "campaign.db"]
    )
    assert_type(page, Path)
    await report.to_jsonl(Path("out.jsonl"))
    assert_type(await hx.BatchReport.open("campaign.db"), hx.BatchReport)
    await runner.run([3])  # type: ignore[list-item]
    hx.BatchRunner(session, on_unknown="panic")  # type: ignore[arg-type]


def show_progress(progress: hx.Progress) -> None:
    """A progress callback."""
    assert_type(progress.total, int | None)
    print(progress.done, progress.in_flight, progress.unknown, progress.credits, progress.seconds_left)


def shown(event: hx.Event) -> str:
    """Events are made for ``match``, and the match is complete."""
    match event:
        case hx.RequestSent(endpoint=endpoint) | hx.Answered(endpoint=endpoint):
            return str(assert_type(endpoint, hx.Endpoint))
        case hx.RequestFailed(reason=reason, seconds=seconds, status=status):
            assert_type(seconds, float)
            assert_type(status, int | None)
            return reason
        case hx.Retried(reason=reason) | hx.Paused(reason=reason) | hx.OutcomeLost(reason=reason):
            return reason
        case hx.LookAccepted(ref=ref, evidence=evidence):
            assert_type(evidence, hx.Evidence)
            return str(assert_type(ref, hx.LookRef))
        case hx.LookSettled(look=look):
            return look.status.value
        case hx.DeliveryReceived(look_id=look_id):
            return look_id
        case hx.PictureSmaller(resolution=resolution):
            return assert_type(resolution, hx.Resolution)
        case _:
            assert_never(event)


def show(event: hx.Event) -> None:
    """A plain hook: it takes one event and returns nothing."""
    print(shown(event))


async def save(event: hx.Event) -> None:
    """An async hook."""
    print(shown(event))


async def opened() -> None:
    """A session takes its documented options, and a checker sees one that does not exist."""
    hook: hx.Hook = show
    async_hook: hx.Hook = save
    hub = WebhookHub("https://example.com/hooks", "a secret of a hub")
    async with hx.HooxSession(
        "hx_live_0",
        base_url="https://example.com/api",
        store="campaign.db",
        requests_per_minute=60,
        timeouts=hx.Timeouts(answer=60.0),
        webhooks=hub,
        hooks=[hook, async_hook, hx.DisplayOnly(hook)],
        new_key=False,
        poll="awaited",
    ) as session:
        assert_type(session, hx.HooxSession)
    hx.HooxSession(base="https://example.com")  # type: ignore[call-arg]
    hx.Timeouts(patience=3.0)  # type: ignore[call-arg]


async def refused(session: hx.HooxSession, request: hx.PromptAvatar) -> str:
    """Errors that cost nothing have the attributes that say why."""
    try:
        return str((await session.run(request)).ref)
    except (hx.ConfigurationError, hx.SessionClosed, hx.BudgetExceeded) as error:
        return assert_type(error.charged, Charged)
    except hx.InvalidRequest as error:
        return f"{assert_type(error.field, str)} {error.expected}"
    except hx.KeyConflict as error:
        return assert_type(error.key, str)
    except hx.NotSent as error:
        return str(assert_type(error.retry_after, float | None))
    except (hx.BadRequest, hx.Conflict, hx.NotFound, hx.PermissionDenied) as error:
        return f"{assert_type(error.status, int)} {assert_type(error.code, str | None)}"
    except (hx.AuthenticationError, hx.InsufficientCredits, hx.RateLimited) as error:
        return assert_type(error.message, str)
    except hx.ApiError as error:
        return str(assert_type(error.details, tuple[Any, ...]))


async def uncertain(session: hx.HooxSession, request: hx.PromptAvatar) -> str:
    """Errors after which credits were or may have been spent, and errors of reads and stores."""
    try:
        return str((await session.run(request)).ref)
    except hx.OutcomeUnknown as error:
        return error.key or "unknown"
    except hx.GenerationFailed as error:
        return str(assert_type(error.look, hx.Look))
    except hx.WaitTimeout as error:
        return str(await assert_type(error.job, hx.LookJob))
    except (hx.StoreLocked, hx.StoreMismatch, hx.StoreIncomplete, hx.StoreError) as error:
        return str(assert_type(error.ref, hx.LookRef | None))
    except (hx.ServerError, hx.UnexpectedResponse, hx.TransportError, hx.WebhookRejected) as error:
        return error.charged
    except hx.HooxError as error:
        return error.charged


async def stores() -> None:
    """A store can be copied, recovered and pruned without a session, and the cap of a budget changed."""
    await hx.backup_store("campaign.db", "copy.db")
    await hx.recover_store("campaign.db")
    result = await hx.prune_store("campaign.db", older_than=timedelta(days=90), dry_run=True)
    assert_type((await hx.store_budget("campaign.db", "spring", cap=5_000)).max_credits, Decimal)
    assert_type((await hx.store_budget("campaign.db", "spring")).charged, Decimal)
    assert_type(result.pruned, int)


def pruned(outcome: hx.Outcome) -> None:
    """The request of an outcome may be pruned: it has its kind and price then, and no prompt."""
    if isinstance(outcome.request, hx.PrunedRequest):
        assert_type(outcome.request.kind, str)
        assert_type(outcome.request.credits, Decimal)


async def around() -> None:
    """The version, the webhook hub, the sandbox and the virtual time loop."""
    assert_type(hx.__version__, str)
    hub = WebhookHub("https://example.com/hooks")
    assert_type(await hub.handle("token", b"{}"), int)
    hub.aiohttp_routes()
    async with Sandbox(speed=100, seed=1, credits=50, requests_per_minute=1000) as sandbox:
        assert_type(sandbox.base_url, str)
        assert_type(sandbox.api_key, str)
        assert_type(sandbox.ledger, list[Charge])
        assert_type(sandbox.credits_spent, Decimal)
        sandbox.fail_next("edit", Fault.HANG)
        sandbox.hold()
        sandbox.settle("avtr_1:look_1", "ready")
        async with sandbox.session(poll="awaited") as session:
            assert_type(session, hx.HooxSession)
    with Sandbox() as plain:
        assert_type(plain, Sandbox)
    VirtualTimeLoop().close()
