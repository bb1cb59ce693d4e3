"""The session: the one door to a workspace's avatars, looks and credits."""

from .session import HooxSession, runtime_of

__all__ = ["HooxSession", "runtime_of"]
