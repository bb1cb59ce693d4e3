"""Binds a store to one workspace. A file gets no API key, only a salted fingerprint of it.

The base URL is bound when the store is opened first, the key for good by the first answer that shows that it
is valid. Until then another key may take its place, as long as nothing was or may have been paid with it:
else one typing error would make the store unusable for the right key.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

import attrs

from ...errors import StoreMismatch
from ..protocols import Workspace


@attrs.frozen
class Binding:
    """Whose money a file remembers: the base URL, a random salt and the salted fingerprint of the key."""

    base_url: str
    salt: bytes = attrs.field(repr=False)
    fingerprint: bytes = attrs.field(repr=False)

    @classmethod
    def to(cls, workspace: Workspace) -> Binding:
        """A new binding to this workspace."""
        salt = secrets.token_bytes(16)
        return cls(plain_url(workspace.base_url), salt, _fingerprint(workspace.api_key, salt))

    def check(self, workspace: Workspace, name: str, *, replaceable: bool) -> Binding:
        """The binding that holds from now on: this one, or a new one where the key was replaced.

        ``name`` is what the messages call the store, ``replaceable`` whether another key needs no word of
        the user's. Raises `StoreMismatch`.
        """
        require_url(self.base_url, workspace, name)
        if hmac.compare_digest(self.fingerprint, _fingerprint(workspace.api_key, self.salt)):
            return self
        if not replaceable:
            require_new_key(workspace, name)
        return Binding.to(workspace)


def require_url(bound: str, workspace: Workspace, name: str) -> None:
    """Raise `StoreMismatch` where a store bound to this base URL is opened for another."""
    given = plain_url(workspace.base_url)
    if given != bound:
        raise StoreMismatch(
            f"{name} belongs to {bound}, not to {given}: give each base URL a store of its own"
        )


def require_new_key(workspace: Workspace, name: str) -> None:
    """Raise `StoreMismatch` for another key, unless it is the user's word that this one replaced it."""
    if not workspace.new_key:
        raise StoreMismatch(
            f"{name} belongs to another API key. If yours replaced it in the same workspace, open the "
            "session once with new_key=True; else give each workspace a store of its own"
        )


def plain_url(base_url: str) -> str:
    """The base URL without the slash at its end, which makes no difference."""
    return base_url.rstrip("/")


def _fingerprint(api_key: str, salt: bytes) -> bytes:
    # 25 ms and 8 MB, once per opening and on the file's own thread.
    # surrogatepass: a key that no server would take must fail as a wrong key, not as a UnicodeError.
    secret = api_key.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(secret, salt=salt, n=1 << 13, r=8, p=1, dklen=32)
