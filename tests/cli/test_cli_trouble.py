"""What is wrong with the API is shown while it is wrong, and no longer."""

from __future__ import annotations

import io
import logging
from decimal import Decimal

import pytest
from cli_kit import Cli, ProgressDisplay, RunState, Terminal
from rich.console import Console

from hoox_async import (
    Answered,
    BatchItem,
    Endpoint,
    HooxError,
    LookEdit,
    LookRef,
    NotSent,
    Outcome,
    OutcomeLost,
    OutcomeState,
    Paused,
    Progress,
    PromptAvatar,
    QuotaSnapshot,
    RequestFailed,
    RequestSent,
)
from hoox_async._cli.batch.summary import _reasons
from hoox_async._cli.waiting import ApiWatch, TroubleLines, shown_instead_of_logged
from hoox_async.sandbox import Fault

REFUSED = "cannot reach api.example: the connection was refused"
OUTAGE = f"no answer for 20 s ({REFUSED}), trying again"


class FakeClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _failed(seconds: float = 20.0, reason: str = REFUSED, status: int | None = None) -> RequestFailed:
    return RequestFailed(Endpoint.STATUS, reason, seconds, status)


def test_an_outage_is_shown_until_an_answer_comes() -> None:
    """The text has the growing time and the reason; an answer ends it, but one of 5xx does not."""
    clock = FakeClock()
    trouble = ApiWatch(clock)
    assert trouble.text() == ""
    trouble(_failed())
    assert (trouble.text(), trouble.reason) == (OUTAGE, REFUSED)
    clock.now += 45
    assert trouble.text() == OUTAGE.replace("20 s", "1 min 5 s")
    trouble(Answered(Endpoint.STATUS, 502, 0.1))
    trouble(_failed(70, "HTTP 502: Bad Gateway", 502))
    assert trouble.text() == "no usable answer for 1 min 10 s (HTTP 502: Bad Gateway), trying again"
    trouble(Answered(Endpoint.STATUS, 404, 0.1))
    assert (trouble.text(), trouble.reason) == ("", "")


def test_a_read_that_is_open_for_long_is_shown() -> None:
    """A read without an answer for 10 s is shown; a paid request, which may take longer, is not."""
    clock = FakeClock()
    trouble = ApiWatch(clock)
    trouble(RequestSent(Endpoint.EDIT, 1.0, "a"))
    clock.now += 60
    assert trouble.text() == ""
    trouble(RequestSent(Endpoint.STATUS, 1.0))
    clock.now += 9.9
    assert trouble.text() == ""
    clock.now += 2
    assert trouble.text() == "no answer for 11 s, still waiting"
    trouble(Answered(Endpoint.STATUS, 200, 12.0))
    assert trouble.text() == ""


def test_a_pause_is_shown_with_the_seconds_that_are_left() -> None:
    """A pause counts down, and ends with its time or with the first answer that is no refusal."""
    clock = FakeClock()
    trouble = ApiWatch(clock)
    trouble(Paused(60.0, "the API answered 429"))
    clock.now += 15
    assert trouble.text() == "nothing is sent for 45 s: the API answered 429"
    assert trouble.outage() == ""
    trouble(Answered(Endpoint.STATUS, 429, 0.1))
    assert trouble.text() != ""
    trouble(Answered(Endpoint.STATUS, 200, 0.1))
    assert trouble.text() == ""
    trouble(Paused(60.0, "the API answered 429"))
    clock.now += 60
    assert trouble.text() == ""


def test_lines_are_few_where_nothing_can_be_redrawn() -> None:
    """Trouble of under 2 s gives no line; a longer one: when it begins, changes, ends, and every 30 s."""
    clock = FakeClock()
    trouble = ApiWatch(clock)
    lines = TroubleLines(trouble)
    written: list[tuple[float, str]] = []

    def pass_time(seconds: float) -> None:
        for _ in range(round(seconds / 0.5)):
            clock.now += 0.5
            if line := lines.next(clock.now):
                written.append((clock.now, line))

    trouble(_failed(0))
    pass_time(1.5)
    trouble(Answered(Endpoint.STATUS, 200, 0.1))
    pass_time(10)
    assert written == []
    trouble(_failed(0))
    pass_time(40)
    assert [line for _, line in written] == [OUTAGE.replace("20", "2"), OUTAGE.replace("20", "32")]
    trouble(_failed(40, "the connection was cut"))
    pass_time(1)
    trouble(Answered(Endpoint.STATUS, 200, 0.1))
    pass_time(10)
    assert [line for _, line in written[2:]] == [
        "no answer for 40 s (the connection was cut), trying again",
        "the API answers again",
    ]


@pytest.mark.parametrize("status", [401, 429])
def test_a_pause_that_ends_by_time_is_no_answer(status: int) -> None:
    """The line that the API answers again comes with an answer that ends the pause; a refusal does not."""
    clock = FakeClock()
    trouble = ApiWatch(clock)
    lines = TroubleLines(trouble)
    trouble(Paused(6.0, f"the API answered {status}"))
    written: list[str] = []
    for _ in range(20):
        clock.now += 0.5
        written += filter(None, [lines.next(clock.now)])
        trouble(Answered(Endpoint.STATUS, status, 0.1))
    assert written == [f"nothing is sent for 4 s: the API answered {status}"]
    trouble(Answered(Endpoint.STATUS, 404, 0.1))
    assert lines.next(clock.now) == "the API answers again"


def _state() -> RunState:
    state = RunState(10, max_credits=Decimal(40))
    state.show(Progress(0, 0, 0, 10, Decimal(0), 65.0))
    return state


def _display(state: RunState) -> ProgressDisplay:
    return ProgressDisplay(Terminal(), state, lambda: QuotaSnapshot(100, 61))


def _render(progress: ProgressDisplay, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as shown:
        console.print(progress.render())
    return [line.rstrip() for line in shown.get().splitlines()]


@pytest.mark.parametrize("width", [40, 80, 160])
def test_a_batch_shows_the_outage_instead_of_the_time_left(width: int) -> None:
    """While no answer comes, the bar and the line show why and no time left; then the time left again."""
    state = _state()
    progress = _display(state)
    assert "left" in progress.line().rpartition(", ")[2]
    state(_failed())
    assert progress.line().endswith(OUTAGE)
    assert "about" not in progress.line()
    lines = _render(progress, width)
    assert " ".join(lines).endswith(OUTAGE)
    assert not any("about" in line for line in lines)
    assert max(map(len, lines)) <= width
    state(Answered(Endpoint.STATUS, 200, 0.1))
    assert "about" in progress.line()
    assert "no answer" not in progress.line()


def test_a_batch_whose_orders_get_no_answer_shows_no_time_left() -> None:
    """While a paid request has no answer for long, the end of the run is not known; its loss ends that."""
    clock = FakeClock()
    state = _state()
    state.trouble = ApiWatch(clock)
    state(RequestSent(Endpoint.EDIT, 1.0, "a"))
    assert "about" in _display(state).line()
    clock.now += 25.0
    assert "about" not in _display(state).line()
    state(OutcomeLost("a", "no answer", Decimal(2)))
    assert "about" in _display(state).line()


def test_a_batch_that_is_paused_shows_no_time_left() -> None:
    """While nothing is sent, the end of the run is not known and not shown."""
    state = _state()
    state(Paused(30.0, "5 paid requests in a row were lost"))
    assert "about" not in _display(state).line()


def test_what_is_shown_is_not_logged_as_well(caplog: pytest.LogCaptureFixture) -> None:
    """While trouble is shown, the library's log lines about it are not written; afterwards they are again."""
    log = logging.getLogger("hoox_async.requests")
    with shown_instead_of_logged():
        log.warning("shown")
    log.warning("logged")
    assert caplog.messages == ["logged"]


@pytest.mark.fast_clock
def test_wait_names_the_cause_instead_of_pending(cli: Cli) -> None:
    """`wait` whose status requests fail says why with code 4, and shows no status that nobody reported."""
    cli.sandbox.fail_next("status", Fault.BAD_GATEWAY, times=100)
    done = cli("wait", "avtr_public_ada:look_public_ada", "--timeout", "2", "--json")
    assert done.code == 4
    (record,) = done.records
    assert (record["event"], record["type"]) == ("error", "WaitTimeout")
    assert "HTTP 502" in record["message"]
    assert "not known to be done after 2 s: HTTP 502" in done.err
    assert "nothing is lost" in done.err
    assert "pending" not in done.out + done.err


@pytest.mark.fast_clock
def test_create_names_the_cause_of_a_wait_that_ended(cli: Cli) -> None:
    """`create` whose look is paid for and cannot be asked about says why, and how to go on."""
    cli.sandbox.fail_next("status", Fault.BAD_GATEWAY, times=100)
    done = cli("create", "a host", "--timeout", "2")
    assert done.code == 4
    assert "not ready yet (HTTP 502" in done.err
    assert f"hoox-async wait {cli.sandbox.ledger[0].ref}" in done.err


# --- the summary of a batch


def _unsent(key: str, error: HooxError, source: str | None = None) -> Outcome:
    request = PromptAvatar("x") if source is None else LookEdit(source, "x")
    item = BatchItem(key, request)
    return Outcome(item.key, item.request, OutcomeState.UNSENT, error=error)


def test_equal_reasons_of_different_sources_have_one_line() -> None:
    """Looks whose sources were not sent share one line, whatever the sources are called."""
    people = ["anna", "ben", "cleo", "dora", "emil", "finn", "gita", "hugo"]
    outcomes = [_unsent(name, NotSent(REFUSED)) for name in people]
    outcomes += [
        _unsent(f"{name}/{scene}", HooxError(f"its source {name!r} was not sent"), name)
        for name in people
        for scene in ("car", "stage")
    ]
    assert _reasons(tuple(outcomes)) == [
        f"  unsent: anna, ben, cleo and 5 more: {REFUSED}",
        "  unsent: anna/car, anna/stage, ben/car and 13 more: its source was not sent",
    ]


def test_one_source_keeps_its_name() -> None:
    """Where all looks of a line have the same source, the line names it."""
    error = HooxError("its source 'anna' was not sent")
    outcomes = tuple(_unsent(f"anna/{n}", error, "anna") for n in range(8))
    assert _reasons(outcomes) == [
        "  unsent: anna/0, anna/1, anna/2 and 5 more: its source 'anna' was not sent"
    ]


def test_waits_that_ended_for_one_reason_have_one_line() -> None:
    """Pending looks share a line where their waits ended for the same cause, or for none."""
    from types import SimpleNamespace
    from typing import Any, cast

    from hoox_async import Look, LookStatus, WaitTimeout

    def pending(n: int, cause: str | None) -> Outcome:
        ref = LookRef("avtr_1", f"look_{n}")
        job = cast(Any, SimpleNamespace(ref=ref))
        outage = None if cause is None else f"no answer for {n} s ({cause})"
        error = WaitTimeout(job, 900.0, cause=cause, outage=outage)
        look = Look(ref, LookStatus.PENDING)
        return Outcome(f"k{n}", LookEdit(ref, "x"), OutcomeState.PENDING, look, error)

    outcomes = (*(pending(n, REFUSED) for n in range(3)), *(pending(n, None) for n in range(3, 5)))
    assert _reasons(outcomes) == [
        f"  pending: k0, k1, k2: not known to be done after 900 s: {REFUSED}",
        "  pending: k3, k4: not done after 900 s; the job can be waited for again",
    ]
