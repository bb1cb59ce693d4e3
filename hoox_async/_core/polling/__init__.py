"""The looks that somebody waits for, and which status request to send next, and when. Pure."""

from .look_updates import News, is_complete
from .scheduler import PRICE, Watchlist
from .tracked_looks import Ask, AskKind

__all__ = ["PRICE", "Ask", "AskKind", "News", "Watchlist", "is_complete"]
