"""asyncio client for the Hoox avatar API: thousands of looks, none paid for twice."""

from ._session import HooxSession

# isort: split
# The session first. By way of the batch, aiohttp is imported from so deep in the stack that CPython 3.11
# maps and unmaps its next piece a thousand times (9 ms).
from ._batch import BatchRunner, Estimate, OutcomeStream
from ._core.budget import Budget
from ._core.ledger import Evidence
from ._core.models import (
    Avatar,
    Look,
    LookDetails,
    LookFailure,
    LookRef,
    LookStatus,
    Picture,
    QuotaSnapshot,
)
from ._core.outcomes import BatchItem, Outcome, OutcomeState
from ._core.requests import Format, ImageAvatar, LookEdit, PromptAvatar, Request, Resolution, Style
from ._core.settings import Timeouts
from ._jobs import LookJob
from ._protocols import Endpoint
from ._report import BatchReport
from ._unknowns import Unknown
from .errors import (
    ApiError,
    AuthenticationError,
    BadRequest,
    BudgetExceeded,
    ConfigurationError,
    Conflict,
    GenerationFailed,
    HooxError,
    InsufficientCredits,
    InvalidRequest,
    KeyConflict,
    NotFound,
    NotSent,
    OutcomeUnknown,
    PermissionDenied,
    RateLimited,
    ServerError,
    SessionClosed,
    StoreError,
    StoreLocked,
    StoreMismatch,
    TransportError,
    UnexpectedResponse,
    WaitTimeout,
    WebhookRejected,
)
from .events import (
    Answered,
    DeliveryReceived,
    Event,
    Hook,
    LookAccepted,
    LookSettled,
    OutcomeLost,
    Paused,
    RequestSent,
    Retried,
)

__all__ = [
    "Answered",
    "ApiError",
    "AuthenticationError",
    "Avatar",
    "BadRequest",
    "BatchItem",
    "BatchReport",
    "BatchRunner",
    "Budget",
    "BudgetExceeded",
    "ConfigurationError",
    "Conflict",
    "DeliveryReceived",
    "Endpoint",
    "Estimate",
    "Event",
    "Evidence",
    "Format",
    "GenerationFailed",
    "Hook",
    "HooxError",
    "HooxSession",
    "ImageAvatar",
    "InsufficientCredits",
    "InvalidRequest",
    "KeyConflict",
    "Look",
    "LookAccepted",
    "LookDetails",
    "LookEdit",
    "LookFailure",
    "LookJob",
    "LookRef",
    "LookSettled",
    "LookStatus",
    "NotFound",
    "NotSent",
    "Outcome",
    "OutcomeLost",
    "OutcomeState",
    "OutcomeStream",
    "OutcomeUnknown",
    "Paused",
    "PermissionDenied",
    "Picture",
    "PromptAvatar",
    "QuotaSnapshot",
    "RateLimited",
    "Request",
    "RequestSent",
    "Resolution",
    "Retried",
    "ServerError",
    "SessionClosed",
    "StoreError",
    "StoreLocked",
    "StoreMismatch",
    "Style",
    "Timeouts",
    "TransportError",
    "UnexpectedResponse",
    "Unknown",
    "WaitTimeout",
    "WebhookRejected",
]
