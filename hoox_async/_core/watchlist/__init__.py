"""The looks that somebody waits for, and which status request to send next, and when. Pure."""

from ._groups import Ask, AskKind
from ._merge import News
from ._watchlist import Watchlist

__all__ = ["Ask", "AskKind", "News", "Watchlist"]
