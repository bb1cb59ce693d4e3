"""Variables in the texts of a campaign file, such as ``{product}``, and the prefix that its prompts share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hoox_async import ConfigurationError

from .fields import TEXTS, RawFields
from .problems import ProblemList, did_you_mean

PREFIX = "prompt_prefix"
VARIABLES = "variables"
_NAME = r"[^\W\d][\w-]*"
_FULL_NAME = re.compile(_NAME)
_NAME_FORM = "a name made of letters, digits, - and _"
# {{name}} is the text {name}; any other brace is a letter like all others
_PLACE = re.compile(rf"\{{\{{({_NAME})\}}\}}|\{{({_NAME})\}}")
_SPACED = re.compile(rf"\{{(?:\s+({_NAME})\s*|({_NAME})\s+)\}}")


def parse_settings(given: tuple[str, ...]) -> dict[str, str]:
    """The variables of ``--set name=value``. Raises `ConfigurationError` for what has not this form."""
    settings: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not _FULL_NAME.fullmatch(name):
            raise ConfigurationError(f"--set {text!r}: expected NAME=VALUE, such as product=lamp")
        if name in settings:
            raise ConfigurationError(f"--set {name}: the variable is set twice")
        settings[name] = value
    return settings


class Templates:
    """Fills in the texts of one file. ``settings`` are the variables of ``--set``; they win over the file's.

    A table or row may have ``variables`` and a ``prompt_prefix`` of its own, which win over the file's.
    """

    def __init__(self, problems: ProblemList, settings: Mapping[str, str]) -> None:
        self._problems = problems
        self._settings = settings
        self._shared: Mapping[str, str] = {}
        self._prefix = ""
        self._seen: set[str] = set()

    def share(self, raw: RawFields) -> None:
        """Take the variables and the prefix of the file itself."""
        self._shared = self._variables(raw)
        self._prefix = self._own_prefix(raw, "")

    def fill(self, raw: RawFields) -> RawFields:
        """These fields with the prefix before the prompt, and with a value for each variable.

        An undefined variable is recorded as a problem of its field.
        """
        variables = {**self._shared, **self._variables(raw), **self._settings}
        prefix = self._own_prefix(raw, self._prefix)
        values = {name: value for name, value in raw.values.items() if name not in (PREFIX, VARIABLES)}
        if prefix.strip() and isinstance(values.get("prompt"), str) and values["prompt"].strip():
            values["prompt"] = f"{prefix.rstrip()} {values['prompt'].lstrip()}"
        for field in TEXTS:
            value = values.get(field)
            if isinstance(value, str):
                values[field] = self._filled(value, raw, field, variables)
            elif isinstance(value, list):
                values[field] = [
                    self._filled(one, raw, field, variables) if isinstance(one, str) else one for one in value
                ]
        return raw._replace(values=values)

    def check_settings(self) -> None:
        """Raise `ConfigurationError` for a variable of ``--set`` that no text has: it is mistyped."""
        for name in self._settings:
            if name not in self._seen:
                hint = did_you_mean(name, self._seen)
                raise ConfigurationError(f"--set {name}: no text of the campaign has {{{name}}}{hint}")

    def _filled(self, text: str, raw: RawFields, field: str, variables: Mapping[str, str]) -> str:
        def value_of(found: re.Match[str]) -> str:
            if found[1] is not None:
                return f"{{{found[1]}}}"
            name = found[2]
            self._seen.add(name)
            if name in variables:
                return variables[name]
            hint = did_you_mean(name, variables)
            expected = (
                f"a value for it{hint}: define {name} under variables, or give --set {name}=VALUE "
                f"(for the text itself write {{{{{name}}}}})"
            )
            self._problems.add(raw.line_of(field), raw.field(field), found[0], expected)
            return found[0]

        for found in _SPACED.finditer(text):
            name = found[1] or found[2]
            if name in variables:  # a text with braces of another meaning would be paid for as it is
                expected = f"{{{name}}}, without spaces between the braces"
                self._problems.add(raw.line_of(field), raw.field(field), found[0], expected)
        return _PLACE.sub(value_of, text)

    def _variables(self, raw: RawFields) -> dict[str, str]:
        given = raw.values.get(VARIABLES, {})
        if not isinstance(given, Mapping):
            expected = 'names with texts, such as variables = {product = "lamp"}'
            self._problems.add(raw.line_of(VARIABLES), raw.field(VARIABLES), given, expected)
            return {}
        variables: dict[str, str] = {}
        for name, value in given.items():
            shown = raw.field(f"{VARIABLES}.{name}")
            if name == PREFIX:
                expected = f"{PREFIX} above the first table of the file: here it is a variable"
                self._problems.add(raw.line_of(VARIABLES), shown, None, expected)
            elif not _FULL_NAME.fullmatch(name):
                self._problems.add(raw.line_of(VARIABLES), shown, name, _NAME_FORM)
            elif isinstance(value, bool) or not isinstance(value, str | int | float):
                self._problems.add(raw.line_of(VARIABLES), shown, value, "a text or a number")
            else:
                variables[name] = str(value)
        return variables

    def _own_prefix(self, raw: RawFields, default: str) -> str:
        prefix: Any = raw.values.get(PREFIX, default)
        if isinstance(prefix, str):
            return prefix
        self._problems.add(raw.line_of(PREFIX), raw.field(PREFIX), prefix, "a text")
        return default
