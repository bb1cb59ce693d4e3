"""Campaign files: reads what to make from TOML, CSV or JSONL, and reports every problem with its line.

It may import the public door (`hoox_async`) and nothing else, not even the rest of the command line.
"""

from __future__ import annotations

from .campaign import Campaign, ItemOrigin
from .parse import parse_campaign, read_campaign
from .picture_names import PLACEHOLDERS, check_template, picture_name
from .problems import CampaignError, Problem
from .selection import select

__all__ = [
    "PLACEHOLDERS",
    "Campaign",
    "CampaignError",
    "ItemOrigin",
    "Problem",
    "check_template",
    "parse_campaign",
    "picture_name",
    "read_campaign",
    "select",
]
