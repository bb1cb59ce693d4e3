"""Campaign files: reads what to make from TOML, CSV or JSONL, and reports every problem with its line.

It may import the public door (`hoox_async`) and nothing else, not even the rest of the command line.
"""

from __future__ import annotations

from .builder import origin_of_key
from .campaign import VERSION_MARK, Campaign, ItemOrigin
from .parse import parse_campaign, read_campaign
from .picture_names import PLACEHOLDERS, check_template, picture_name
from .problems import CampaignError, Problem
from .selection import Selection, check_limit, select
from .variables import parse_settings

__all__ = [
    "PLACEHOLDERS",
    "VERSION_MARK",
    "Campaign",
    "CampaignError",
    "ItemOrigin",
    "Problem",
    "Selection",
    "check_limit",
    "check_template",
    "origin_of_key",
    "parse_campaign",
    "parse_settings",
    "picture_name",
    "read_campaign",
    "select",
]
