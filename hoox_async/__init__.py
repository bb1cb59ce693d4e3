"""asyncio client for the Hoox avatar API: thousands of looks, and none is sent twice on a guess.

In an async function:

    async with HooxSession(store="looks.db") as session:  # the key from HOOX_API_KEY
        alex = await session.run(PromptAvatar("Young entrepreneur", name="Alex"), key="alex")
        job = await session.submit(LookEdit(alex, "podcast scene", resolution="4K"), key="alex/podcast")
        print(job.ref, job.credits)  # accepted: now it costs
        await session.download(await job, "podcast.jpg", overwrite=True)

- What can be ordered: `PromptAvatar` (2 credits, 4 at 4K), `ImageAvatar` (free) and `LookEdit` (2 credits,
  4 at 4K, 1.5 more with ``upscale``). ``request.credits`` says it beforehand.
- One look at a time: `HooxSession` with ``submit``, ``run``, ``status``, ``wait`` and ``download``.
  ``submit`` gives a `LookJob`, and ``await job`` the `Look`.
- Many looks: `BatchRunner` with ``run`` and ``stream``, an `Outcome` for each item, and the `BatchReport`.
- What may have been paid: `OutcomeUnknown` is raised, ``session.unknowns()`` lists it, and
  ``session.resolve``, ``session.resend`` or ``session.drop`` settles it. Every error is a `HooxError`; its
  ``charged`` says whether it cost credits: ``"no"``, ``"maybe"`` or ``"yes"``.
- What happens meanwhile: ``HooxSession(hooks=[...])`` takes functions that are called with each `Event`.
- Beside this: `hoox_async.sandbox` (a local server of the API, for tests and trials),
  `hoox_async.webhooks` (receivers of deliveries), `hoox_async.testing`, and the command ``hoox-async``.
"""

from ._session import HooxSession

# isort: split
# The session first. By way of the batch, aiohttp is imported from so deep in the stack that CPython 3.11
# maps and unmaps its next piece a thousand times (9 ms).
from ._api.endpoints import Endpoint
from ._api.models import Avatar, Look, LookDetails, LookRef, LookStatus, QuotaSnapshot
from ._api.pictures import Picture
from ._api.requests import (
    Format,
    ImageAvatar,
    LookEdit,
    PromptAvatar,
    PrunedRequest,
    Request,
    Resolution,
    Style,
)
from ._batch import BatchRunner, Estimate, OutcomeStream, Progress
from ._core.intents.budget import Budget
from ._core.intents.costs import Costs
from ._core.intents.intent import Evidence, Unknown
from ._core.intents.outcomes import BatchItem, Outcome, OutcomeState
from ._core.settings import DEFAULT_TIMEOUT, DefaultTimeout, Timeouts
from ._core.trouble import Trouble
from ._io.ledger.maintenance import backup_store, prune_store, read_costs, recover_store, store_budget
from ._report import BatchReport
from ._session.health import SessionHealth
from ._session.jobs import LookJob
from ._version import __version__
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
    StoreIncomplete,
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
    DisplayOnly,
    Event,
    Hook,
    LookAccepted,
    LookSettled,
    OutcomeLost,
    Paused,
    PictureSmaller,
    RequestFailed,
    RequestSent,
    Retried,
)

__all__ = [
    "DEFAULT_TIMEOUT",
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
    "Costs",
    "DefaultTimeout",
    "DeliveryReceived",
    "DisplayOnly",
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
    "PictureSmaller",
    "Progress",
    "PromptAvatar",
    "PrunedRequest",
    "QuotaSnapshot",
    "RateLimited",
    "Request",
    "RequestFailed",
    "RequestSent",
    "Resolution",
    "Retried",
    "ServerError",
    "SessionClosed",
    "SessionHealth",
    "StoreError",
    "StoreIncomplete",
    "StoreLocked",
    "StoreMismatch",
    "Style",
    "Timeouts",
    "TransportError",
    "Trouble",
    "UnexpectedResponse",
    "Unknown",
    "WaitTimeout",
    "WebhookRejected",
    "__version__",
    "backup_store",
    "prune_store",
    "read_costs",
    "recover_store",
    "store_budget",
]
