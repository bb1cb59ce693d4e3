"""Makes names of picture files from a template such as ``{avatar}/{scene}-{n}``."""

from __future__ import annotations

import re
import string
import unicodedata
from pathlib import PurePosixPath

from hoox_async import BatchItem, ConfigurationError, Outcome

from .campaign import Campaign, ItemOrigin
from .problems import did_you_mean

PLACEHOLDERS = ("avatar", "scene", "n", "key", "style", "format", "look_id")
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)")
_LETTERS = frozenset("LNM")
_WIDTH = re.compile(r"0?[1-9]")


def picture_name(
    template: str, item: BatchItem | Outcome, origin: ItemOrigin, *, look_id: str = ""
) -> PurePosixPath:
    """The path of an item's picture, relative to the folder of the pictures and without a suffix.

    Whatever the values are, the path stays in the folder and its parts are safe on every system.
    Raises `ConfigurationError` for a template that can't be used.
    """
    return PurePosixPath(*map(safe_part, _filled_parts(template, item, origin, look_id)))


def _filled_parts(
    template: str, item: BatchItem | Outcome, origin: ItemOrigin, look_id: str
) -> tuple[str, ...]:
    values: dict[str, str | int] = {
        "avatar": origin.avatar,
        "scene": origin.scene,
        "n": origin.variation,
        "key": item.key,
        "style": str(getattr(item.request, "style", None) or "default"),
        "format": str(getattr(item.request, "format", None) or "default"),
        "look_id": look_id,
    }
    return tuple(
        "".join(literal + _filled(field, spec, values) for literal, field, spec in _fields(part))
        for part in _split(template)
    )


def check_template(template: str, campaign: Campaign) -> None:
    """Raise `ConfigurationError` when the template is wrong or does not tell two items of the campaign apart.

    Texts that differ may still give one file name; such files are numbered when they are saved.
    """
    used: dict[tuple[str, ...], BatchItem] = {}
    for item in campaign.items:
        origin = campaign.origins[item.key]
        # the key is used as the look's id: it too is different for each item
        other = used.setdefault(_filled_parts(template, item, origin, item.key), item)
        if other.key != item.key:
            name = picture_name(template, item, origin, look_id=item.key)
            raise ConfigurationError(
                f"--names {template!r}: {other.key} and {item.key} would both be saved as {name}; "
                "add {n}, {key} or {look_id}"
            )


def safe_part(text: str, *, fallback: str = "look", longest: int = 120) -> str:
    """Any text as one part of a path, of letters and digits of any script, ``-``, ``_`` and ``.``.

    It is never empty, ``.``, ``..`` or a name that Windows reserves, has no separator, and has at most
    ``longest`` bytes in UTF-8. Different texts may give the same part.
    """
    kept = "".join(c if _usable(c) else " " for c in unicodedata.normalize("NFKC", text))
    part = re.sub(r"[ -]*[ ][ -]*", "-", kept.strip(" .-")).strip("-.")
    part = part.encode()[:longest].decode(errors="ignore").rstrip("-.") or fallback
    return f"_{part}" if _RESERVED.match(part) else part


def _usable(character: str) -> bool:
    return character in "-_." or unicodedata.category(character)[0] in _LETTERS


def _split(template: str) -> list[str]:
    parts = template.replace("\\", "/").split("/")
    if any(part.strip() in ("", ".", "..") for part in parts):
        raise ConfigurationError(f"--names {template!r}: expected a path below the folder, such as "
                                 "{avatar}/{scene}-{n}")  # fmt: skip
    return parts


def _fields(part: str) -> list[tuple[str, str, str]]:
    """The literal texts of a part, each with the placeholder that follows it and its width."""
    try:
        parsed = list(string.Formatter().parse(part))
    except ValueError as error:
        raise ConfigurationError(f"--names: {part!r}: {error}") from None
    fields = []
    for literal, name, spec, conversion in parsed:
        if name is not None and name not in PLACEHOLDERS:
            hint = did_you_mean(name, PLACEHOLDERS) or f": expected one of {', '.join(PLACEHOLDERS)}"
            raise ConfigurationError(f"--names: {{{name}}} is not a placeholder{hint}")
        if conversion or (spec and (name != "n" or not _WIDTH.fullmatch(spec))):
            raise ConfigurationError(f"--names: {part!r}: only {{n}} takes a width, such as {{n:03}}")
        fields.append((literal, name or "", spec or ""))
    return fields


def _filled(field: str, spec: str, values: dict[str, str | int]) -> str:
    return format(values[field], spec) if field else ""
