"""The session: the one door to a workspace's avatars, looks and credits."""

from .session import HooxSession

__all__ = ["HooxSession"]
