"""The session: the one door to a workspace's avatars, looks and credits."""

from .session import HooxSession, opened_of

__all__ = ["HooxSession", "opened_of"]
