"""What earlier versions wrote is read by this one: ``0.1/x`` gives the lines of ``0.1/x.read.txt``.

The files of a version are never changed. `test_golden_stores.py` has the stores.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from internals_kit import Intent, digest, dump_intent, load_intent

from hoox_async import PrunedRequest
from hoox_async._cli.campaign.parse import read_campaign
from hoox_async._cli.commands.unknowns import parse_decisions
from hoox_async._cli.selection import read_picks
from hoox_async._core.intents.outcomes import outcome_of
from hoox_async._core.intents.records import load_delivery
from hoox_async._report.jsonl import outcome_record

VERSIONS = sorted(folder for folder in Path(__file__).parent.iterdir() if (folder / "intents.jsonl").exists())


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()


def _intents(file: Path) -> Iterator[str]:
    """What money hangs on. The digest must stay what it was: else running a campaign again is a conflict."""
    for line in _lines(file):
        intent = load_intent(line)
        is_same = isinstance(intent.request, PrunedRequest) or digest(intent.request) == intent.digest
        assert is_same, f"{intent.key}: another digest for the same content"
        yield (
            f"{intent.key}: {intent.state} {intent.ref}, {intent.spent} spent ({intent.failed} failed), "
            f"{intent.at_risk} at risk, attempts {[attempt.id for attempt in intent.attempts]}, "
            f"before {_state_of(intent.previous)}"
        )


def _state_of(intent: Intent | None) -> str:
    return "nothing" if intent is None else str(intent.state)


def _deliveries(file: Path) -> Iterator[str]:
    for line in _lines(file):
        found = load_delivery(line)
        yield f"{found.avatar_id}:{found.look_id} {found.status} {found.thumbnail_url} {found.error_message}"


def _campaign(file: Path) -> Iterator[str]:
    """Each look with its digest: the same file, run again, must pay for nothing."""
    for item in read_campaign(file).items:
        yield f"{item.key}: {item.request.credits} credits, {digest(item.request)}"


def _picks(file: Path) -> Iterator[str]:
    yield from read_picks(file)


def _decisions(file: Path) -> Iterator[str]:
    for decision in parse_decisions(file.read_text(encoding="utf-8")):
        yield f"{decision.key}, {decision.attempt}: {decision.verdict}"


READ: dict[str, Callable[[Path], Iterator[str]]] = {
    "intents.jsonl": _intents,
    "deliveries.jsonl": _deliveries,
    "campaign.toml": _campaign,
    "campaign.csv": _campaign,
    "campaign.jsonl": _campaign,
    "picks.json": _picks,
    "decisions.json": _decisions,
}


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("version", VERSIONS, ids=lambda folder: folder.name)
def test_what_an_earlier_version_wrote_is_read(version: Path, name: str) -> None:
    """It is read without an error, and means what it meant."""
    file = version / name
    assert list(READ[name](file)) == _lines(file.with_name(f"{name}.read.txt"))


@pytest.mark.parametrize("version", VERSIONS, ids=lambda folder: folder.name)
def test_a_line_of_a_report_has_what_it_had(version: Path) -> None:
    """Programs that read an earlier version's lines read this one's: fields are added only."""
    intents = [load_intent(line) for line in _lines(version / "intents.jsonl")]
    for intent, line in zip(intents, _lines(version / "report.jsonl"), strict=True):
        now = json.loads(json.dumps(outcome_record(outcome_of(intent))))
        assert _part(now, json.loads(line)) == json.loads(line)


def _part(now: Any, before: Any) -> Any:
    """What is there now, of objects only the fields that were there before."""
    if isinstance(now, dict) and isinstance(before, dict):
        return {name: _part(now[name], value) for name, value in before.items() if name in now}
    return now


def test_this_version_writes_the_records_of_the_newest_files() -> None:
    """A record that is written in another form needs new golden files beside the old ones."""
    for line in _lines(VERSIONS[-1] / "intents.jsonl"):
        assert dump_intent(load_intent(line)) == line
