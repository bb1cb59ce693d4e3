"""The forms of requests and answers that the vendor's pages leave open."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any, Literal

import attrs

from .option_checks import a_flag, one_of

FAILURE_MESSAGE = "Edit failed"


@attrs.frozen(kw_only=True)
class AnswerForms:
    """In which of its possible forms the API answers, where the vendor's pages differ or are silent.

    - ``images``: the field that a creation's images are accepted in: "imageUrls", "images" or "both".
    - ``looks_of_images``: "one" look for all images of a creation, or one for "each"; the answer names the
      first. (The vendor's page says "looks are created", and shows two images and one look.)
    - ``copies``: whether an edit of a public avatar copies it into the workspace, for the new look:
      "none", "one" copy of each public avatar, which its later edits use too, or a new copy "each" time. (The
      vendor's pages say that it is copied, and not how often.)
    - ``created``: the HTTP status of an accepted POST, 200 or 201.
    - ``result``: what ``/avatar/status`` says of a ready look: "full", or "picture" for its address alone.
    - ``thumbnail``: the picture at ``thumbnail`` and ``thumbnail_url``: in the "full" size that was paid for,
      or "small", 540 x 960 pixels.
    - ``preview``: what is at ``preview``: the "same" as at ``thumbnail``, the picture in "full" size, or a
      "film".
    - ``failure_code``: the code of a look that failed.
    - ``errors``: the body of a refusal: "short" is ``{"error", "code"}``, "details" is
      ``{"error", "details": [...]}``, and "both" mixes them as the API reference does.
    - ``codes``: the case of letters of error codes: "upper", "lower", or "both" as the API reference mixes
      them.
    - ``reset``: the form of ``X-RateLimit-Reset``: "unix" seconds (API reference), "milliseconds" since 1970,
      "seconds" from now, or "none" for no such header.
    - ``reset_moves``: whether that is always a minute from now, instead of when the quota has room again.
    - ``quota_headers``: which answers, a fault's included, have ``X-RateLimit-`` headers: "all",
      "unless_429", those of a "success", or "none".
    - ``throttled_counts``: whether a request that is answered 429 counts in the quota as any other.

    The status words are `Sandbox`'s ``vocabulary``, the form of a webhook is in `DeliveryOptions`. Raises
    `ConfigurationError` for any other value.
    """

    images: Literal["both", "imageUrls", "images"] = attrs.field(
        default="both", validator=one_of("both", "imageUrls", "images")
    )
    looks_of_images: Literal["one", "each"] = attrs.field(default="one", validator=one_of("one", "each"))
    copies: Literal["none", "one", "each"] = attrs.field(
        default="one", validator=one_of("none", "one", "each")
    )
    created: Literal[200, 201] = attrs.field(default=201, validator=one_of(200, 201))
    result: Literal["full", "picture"] = attrs.field(default="full", validator=one_of("full", "picture"))
    thumbnail: Literal["full", "small"] = attrs.field(default="full", validator=one_of("full", "small"))
    preview: Literal["same", "full", "film"] = attrs.field(
        default="same", validator=one_of("same", "full", "film")
    )
    failure_code: Literal["GENERATION_FAILED", "LOOK_GENERATION_FAILED"] = attrs.field(
        default="GENERATION_FAILED", validator=one_of("GENERATION_FAILED", "LOOK_GENERATION_FAILED")
    )
    errors: Literal["both", "short", "details"] = attrs.field(
        default="both", validator=one_of("both", "short", "details")
    )
    codes: Literal["both", "upper", "lower"] = attrs.field(
        default="both", validator=one_of("both", "upper", "lower")
    )
    reset: Literal["unix", "milliseconds", "seconds", "none"] = attrs.field(
        default="unix", validator=one_of("unix", "milliseconds", "seconds", "none")
    )
    reset_moves: bool = attrs.field(default=False, validator=a_flag)
    quota_headers: Literal["all", "unless_429", "success", "none"] = attrs.field(
        default="all", validator=one_of("all", "unless_429", "success", "none")
    )
    throttled_counts: bool = attrs.field(default=False, validator=a_flag)

    def accepted_create(self, body: Any) -> Any:
        """The body of a creation as this API reads it: without images under a name that it does not know."""
        if self.images == "both" or not isinstance(body, Mapping):
            return body
        other = "images" if self.images == "imageUrls" else "imageUrls"
        return {name: value for name, value in body.items() if name != other}

    def failure(self) -> dict[str, Any]:
        """Why a look failed, on ``/avatar/status`` and in webhooks."""
        return {"code": self.failure_code, "message": FAILURE_MESSAGE}

    def error_body(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The body of a refusal in this form, from a body in either form."""
        given = body.get("details")
        details = [self._detail(one) for one in given] if isinstance(given, list) else None
        code, message = body.get("code"), body["error"]
        if details is not None and self.errors == "short":
            message, code, details = details[0]["message"], details[0]["code"], None
        elif details is None and self.errors == "details":
            details = [self._detail({"message": message, **({"code": code} if code else {})})]
            message, code = "Validation failed", None
        if details is not None:
            return {"error": message, "details": details}
        return {"error": message, "code": self._code(code)} if code else {"error": message}

    def reset_header(self, unix_reset: float, seconds: float) -> dict[str, str]:
        """The header of the reset, which comes ``seconds`` from now."""
        match self.reset:
            case "none":
                return {}
            case "milliseconds":
                value = unix_reset * 1000
            case "seconds":
                value = seconds
            case _:
                value = unix_reset
        return {"X-RateLimit-Reset": str(ceil(value))}

    def shown_headers(self, status: int, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers of an answer with this status, without those of the quota where it has none."""
        match self.quota_headers:
            case "unless_429":
                shown = status != 429
            case "success":
                shown = 200 <= status < 300
            case form:
                shown = form == "all"
        return {
            name: value for name, value in headers.items() if shown or not name.startswith("X-RateLimit-")
        }

    def _detail(self, detail: Mapping[str, Any]) -> dict[str, Any]:
        return {**detail, "code": self._code(detail["code"])} if "code" in detail else dict(detail)

    def _code(self, code: str) -> str:
        return code.upper() if self.codes == "upper" else code.lower() if self.codes == "lower" else code
