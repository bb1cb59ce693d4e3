"""Campaign files: reads what to make from TOML, CSV or JSON lines, and reports every problem with its line.

It may import the public door (`hoox_async`) and the table of fields, but nothing else of the command line.
"""

from __future__ import annotations

from .builder import VERSION_MARK, Campaign, ItemOrigin, origin_of_key
from .parse import parse_campaign, read_campaign
from .problems import CampaignError, Problem
from .variables import parse_settings

__all__ = [
    "VERSION_MARK",
    "Campaign",
    "CampaignError",
    "ItemOrigin",
    "Problem",
    "origin_of_key",
    "parse_campaign",
    "parse_settings",
    "read_campaign",
]
