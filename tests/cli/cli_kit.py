"""Runs the real commands in this process, against a sandbox in a thread of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from frozen_door_kit import fits

from hoox_async._cli.app import build as build
from hoox_async._cli.batch.options import BatchOptions as BatchOptions
from hoox_async._cli.batch.run import ProgressDisplay as ProgressDisplay
from hoox_async._cli.batch.run import RunState as RunState
from hoox_async._cli.campaign.builder import ItemOrigin as ItemOrigin
from hoox_async._cli.campaign.parse import parse_campaign as parse_campaign
from hoox_async._cli.campaign.parse import read_campaign as read_campaign
from hoox_async._cli.campaign.problems import CampaignError as CampaignError
from hoox_async._cli.campaign.problems import Problem as Problem
from hoox_async._cli.commands.unknowns import parse_decisions as parse_decisions
from hoox_async._cli.main import run as run
from hoox_async._cli.selection import read_picks as read_picks
from hoox_async._cli.terminal import Terminal as Terminal
from hoox_async.sandbox import Sandbox

# two avatars of the sandbox's public catalogue, so that no look waits for an avatar
CAMPAIGN = """\
[[avatars]]
key = "alex"
avatar_id = "avtr_public_ada"
look_id = "look_public_ada"

[[avatars]]
key = "noor"
avatar_id = "avtr_public_bruno"
look_id = "look_public_bruno"

[[scenes]]
key = "podcast"
prompt = "Podcast studio, warm light"
style = "podcast"

[[scenes]]
key = "stage"
prompt = "On a small stage, blue light"

[matrix]
"""
ITEMS = {"alex/podcast", "noor/podcast", "alex/stage", "noor/stage"}

AVATARS = """\
[[avatars]]
key = "mara"
prompt = "Physiotherapist, calm and friendly"

[[avatars]]
key = "yuki"
image_urls = ["https://images.test/yuki.jpg"]

[[scenes]]
key = "car"
prompt = "In the driver's seat at a red light"

[matrix]
"""


class Done(NamedTuple):
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        """The lines of JSON on stdout: every line has to be one, with the fields that are frozen."""
        found = [json.loads(line) for line in self.out.splitlines()]
        assert [record for record in found if not fits(record)] == [], "see tests/door/frozen_door.txt"
        return found

    def of(self, event: str) -> list[dict[str, Any]]:
        """The records of one kind."""
        return [record for record in self.records if record["event"] == event]


class Cli:
    """The command line on a sandbox: its key in the environment, its base URL as an option."""

    def __init__(self, sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
        self.sandbox = sandbox
        self._capsys = capsys

    def __call__(self, *argv: str | Path, rpm: int = 6000) -> Done:
        """Run one command that talks to the API."""
        return self.bare(*argv, "--base-url", self.sandbox.base_url, "--rpm", str(rpm))

    def bare(self, *argv: str | Path) -> Done:
        """Run one command as it is typed."""
        self._capsys.readouterr()
        code = run([str(word) for word in argv])
        out, err = self._capsys.readouterr()
        assert "Traceback" not in out + err
        return Done(int(code), out, err)


def campaign(folder: Path, text: str = CAMPAIGN, name: str = "campaign.toml") -> Path:
    """Write a campaign file: by default four looks of two avatars, for 8 credits."""
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file
