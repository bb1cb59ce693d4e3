"""Binds a store to one workspace: to the API's base URL and to the API key.

A file holds no API key, only a salted fingerprint of it. The base URL is bound when the store is first
opened. The key is bound for good by the first answer that shows that it is valid. Until then another key may
replace it, as long as nothing was or may have been paid: else a mistyped key would make the store unusable
for the right one.
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
    """What a file knows of its workspace: base URL, a random salt, the salted fingerprint of the key."""

    base_url: str
    salt: bytes = attrs.field(repr=False)
    fingerprint: bytes = attrs.field(repr=False)

    @classmethod
    def to(cls, workspace: Workspace, salt: bytes | None = None) -> Binding:
        """A binding to this workspace, with a new salt or a known one."""
        salt = secrets.token_bytes(16) if salt is None else salt
        return cls(plain_url(workspace.base_url), salt, _fingerprint(workspace.api_key, salt))

    def check(self, workspace: Workspace, name: str, *, replaceable: bool) -> Binding:
        """The binding to use from now on: this one, or a new one if the key was replaced.

        ``name`` is what messages call the store. ``replaceable`` says that another key may replace the bound
        one without ``new_key``. Raises `StoreMismatch`.
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
            f"{name} belongs to {bound}, not to {given}: use a separate store for each base URL"
        )


def require_new_key(workspace: Workspace, name: str) -> None:
    """Raise `StoreMismatch` for another key, unless ``new_key`` says that it replaces the bound one."""
    if not workspace.new_key:
        raise StoreMismatch(
            f"{name} belongs to another API key. If yours replaced it in the same workspace, open the "
            "session once with new_key=True; else use a separate store for each workspace"
        )


def plain_url(base_url: str) -> str:
    """The base URL without a slash at its end, so that both spellings are equal."""
    return base_url.rstrip("/")


def _fingerprint(api_key: str, salt: bytes) -> bytes:
    # 25 ms and 8 MB, once per opening and on the file's own thread.
    # surrogatepass: a key that no server would take must fail as a wrong key, not as a UnicodeError.
    secret = api_key.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(secret, salt=salt, n=1 << 13, r=8, p=1, dklen=32)
