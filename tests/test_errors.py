"""The tree of errors, what each says about credits, and what it carries."""

from __future__ import annotations

import copy
import pickle
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hoox_async import Look, LookRef, LookStatus, errors
from hoox_async._api.models import LookFailure
from hoox_async._api.responses import api_error

REF = LookRef("avtr_abc", "look_123")
FAILED = Look(REF, LookStatus.FAILED, error=LookFailure("X", "Edit failed"))


def _wait_timeout() -> errors.WaitTimeout:
    return errors.WaitTimeout(cast(Any, SimpleNamespace(ref=REF)), 900.0)


# one of each class, its parent in the tree, and its money
ALL: list[tuple[errors.HooxError, type[BaseException], str]] = [
    (errors.HooxError("x"), Exception, "no"),
    (errors.ConfigurationError("x"), errors.HooxError, "no"),
    (errors.InvalidRequest("prompt", "", "text"), errors.HooxError, "no"),
    (errors.KeyConflict("alex"), errors.HooxError, "no"),
    (errors.BudgetExceeded("x"), errors.HooxError, "no"),
    (errors.SessionClosed("x"), errors.HooxError, "no"),
    (errors.NotSent("x"), errors.HooxError, "no"),
    (errors.ApiError(418, None, "x"), errors.HooxError, "no"),
    (errors.BadRequest(400, None, "x"), errors.ApiError, "no"),
    (errors.AuthenticationError(401, None, "x"), errors.ApiError, "no"),
    (errors.InsufficientCredits(402, None, "x"), errors.ApiError, "no"),
    (errors.PermissionDenied(403, None, "x"), errors.ApiError, "no"),
    (errors.NotFound(404, None, "x"), errors.ApiError, "no"),
    (errors.Conflict(409, None, "x"), errors.ApiError, "no"),
    (errors.RateLimited(429, None, "x"), errors.ApiError, "no"),
    (errors.OutcomeUnknown("x"), errors.HooxError, "maybe"),
    (errors.GenerationFailed(FAILED), errors.HooxError, "yes"),
    (_wait_timeout(), errors.HooxError, "yes"),
    (errors.ServerError(500, "x"), errors.HooxError, "no"),
    (errors.UnexpectedResponse("x"), errors.HooxError, "no"),
    (errors.TransportError("x"), errors.HooxError, "no"),
    (errors.StoreError("x"), errors.HooxError, "no"),
    (errors.StoreIncomplete("x"), errors.StoreError, "no"),
    (errors.StoreLocked("x"), errors.StoreError, "no"),
    (errors.StoreMismatch("x"), errors.StoreError, "no"),
    (errors.WebhookRejected("x"), errors.HooxError, "no"),
]


def _all_classes(root: type[errors.HooxError]) -> set[type[errors.HooxError]]:
    found = {root}
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            found |= _all_classes(child)
    return found


def test_every_error_class_is_checked_here() -> None:
    """The list of this file has an error of each class of the module."""
    assert {type(error) for error, _, _ in ALL} == _all_classes(errors.HooxError)


@pytest.mark.parametrize(("error", "parent", "charged"), ALL, ids=lambda value: type(value).__name__)
def test_each_error_has_its_parent_and_says_what_the_call_cost(
    error: errors.HooxError, parent: type[BaseException], charged: str
) -> None:
    """Each class has the parent that the tree shows, and `charged` says what the failed call cost."""
    assert type(error).__bases__[0] is parent
    assert error.charged == charged
    assert type(error).charged == charged


def test_the_docstring_names_every_error_with_its_cost() -> None:
    """The tree in the module's docstring has a line for each class, with its HTTP status or `charged`."""
    lines = {
        words[0]: words[1]
        for line in (errors.__doc__ or "").splitlines()
        if (words := line.replace("│", " ").replace("├──", " ").replace("└──", " ").split())
        and len(words) > 1
    }
    for error, _, charged in ALL[1:]:
        shown = lines[type(error).__name__]
        assert shown == (str(cast(Any, error).status) if shown.isdigit() else charged)


@pytest.mark.parametrize(("error", "parent", "charged"), ALL, ids=lambda value: type(value).__name__)
def test_errors_are_copied_and_pickled(
    error: errors.HooxError, parent: type[BaseException], charged: str
) -> None:
    """A copied or pickled error has the same class, message and attributes."""
    for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(other) is type(error)
        assert str(other) == str(error)
        assert vars(other).keys() == vars(error).keys()


def test_two_errors_are_also_builtin_errors() -> None:
    """InvalidRequest is a ValueError and WaitTimeout is a TimeoutError."""
    assert isinstance(errors.InvalidRequest("f", 1, "x"), ValueError)
    assert isinstance(_wait_timeout(), TimeoutError)


def test_invalid_request_names_field_value_and_what_is_right() -> None:
    """The field, the value and what is expected are attributes and are in the message."""
    error = errors.InvalidRequest("style", "cartoon", "one of iphone, selfie")
    assert (error.field, error.value, error.expected) == ("style", "cartoon", "one of iphone, selfie")
    assert str(error) == "style: 'cartoon' is not usable; expected one of iphone, selfie"


def test_invalid_request_shortens_a_long_value() -> None:
    """The message has only the beginning of a value that is a megabyte long."""
    error = errors.InvalidRequest("prompt", "x" * (1 << 20), "less")
    assert len(str(error)) < 200
    assert "..." in str(error)


def test_key_conflict_has_the_key() -> None:
    """The key is an attribute of KeyConflict and is in its message."""
    error = errors.KeyConflict("alex/1")
    assert error.key == "alex/1"
    assert "'alex/1'" in str(error)
    assert str(errors.KeyConflict("k", "is used twice")) == "key 'k': is used twice"


def test_not_sent_says_when_to_try_again() -> None:
    """retry_after of NotSent is in seconds, or None where that is not known."""
    assert errors.NotSent("x").retry_after is None
    assert errors.NotSent("x", retry_after=2.5).retry_after == 2.5


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.BadRequest),
        (401, errors.AuthenticationError),
        (402, errors.InsufficientCredits),
        (403, errors.PermissionDenied),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (429, errors.RateLimited),
        (405, errors.ApiError),
        (422, errors.ApiError),
    ],
)
def test_the_status_decides_the_class_of_an_api_error(status: int, kind: type[errors.ApiError]) -> None:
    """api_error makes an error of the status's class, with all parts of the refusal."""
    error = api_error(status, "CODE", "No", [{"field": "f"}], retry_after=3.0)
    assert type(error) is kind
    assert (error.status, error.code, error.message) == (status, "CODE", "No")
    assert (error.details, error.retry_after) == (({"field": "f"},), 3.0)
    assert str(error) == f"HTTP {status} [CODE]: No"


def test_the_message_of_a_refusal_without_a_code() -> None:
    """The message of a refusal without a code has no brackets."""
    assert str(api_error(404, None, "Look not found")) == "HTTP 404: Look not found"


def test_outcome_unknown_has_the_key_to_settle_it() -> None:
    """OutcomeUnknown has the key that session.resolve takes, or None."""
    assert errors.OutcomeUnknown("x", key="alex").key == "alex"
    assert errors.OutcomeUnknown("x").key is None


def test_generation_failed_has_the_look() -> None:
    """GenerationFailed has the look; its message has the API's reason, or says that there was none."""
    error = errors.GenerationFailed(FAILED)
    assert error.look is FAILED
    assert str(error) == "avtr_abc:look_123: generation failed: Edit failed [X]"
    silent = errors.GenerationFailed(Look(REF, LookStatus.FAILED))
    assert "no reason" in str(silent)


def test_wait_timeout_has_the_job() -> None:
    """WaitTimeout has the job, which can be waited for again, and the seconds."""
    error = _wait_timeout()
    assert error.job.ref == REF
    assert error.seconds == 900.0
    assert "avtr_abc:look_123" in str(error)
    assert "900 s" in str(error)


def test_the_attributes_of_the_errors_of_reads_stores_and_webhooks() -> None:
    """ServerError, UnexpectedResponse, StoreError and WebhookRejected have their documented attributes."""
    server = errors.ServerError(503, "busy", retry_after=1.0)
    assert (server.status, server.message, server.retry_after) == (503, "busy", 1.0)
    assert str(server) == "HTTP 503: busy"
    assert errors.UnexpectedResponse("x", status=200).status == 200
    assert errors.UnexpectedResponse("x").status is None
    assert errors.StoreError("x").ref is None
    assert errors.WebhookRejected("x").status == 404
    assert errors.WebhookRejected("x", status=400).status == 400
