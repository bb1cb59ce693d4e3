"""Campaign files: what to make, written by people (TOML, CSV) or by programs (JSONL)."""

from __future__ import annotations

from .choose import select
from .faults import CampaignError, Fault
from .model import Campaign, Place
from .names import PLACEHOLDERS, check_template, picture_name
from .parse import EXAMPLE, parse_campaign, read_campaign

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
