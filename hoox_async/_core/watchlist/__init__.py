"""The looks that somebody waits for, and which status request to send next, and when. Pure."""

from ._entries import Ask, AskKind
from ._merge import News, is_complete
from ._watchlist import PRICE, Watchlist

__all__ = ["PRICE", "Ask", "AskKind", "News", "Watchlist", "is_complete"]
