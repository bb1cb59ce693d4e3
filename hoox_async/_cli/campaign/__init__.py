"""Campaign files: what to make, written by people (TOML, CSV) or by programs (JSONL)."""

from __future__ import annotations

from .campaign import Campaign, Place
from .parse import EXAMPLE, parse_campaign, read_campaign
from .picture_names import PLACEHOLDERS, check_template, picture_name
from .problems import CampaignError, Fault
from .selection import select

__all__ = [
    "EXAMPLE",
    "PLACEHOLDERS",
    "Campaign",
    "CampaignError",
    "Fault",
    "Place",
    "check_template",
    "parse_campaign",
    "picture_name",
    "read_campaign",
    "select",
]
