"""What tests of several rooms need of the package's private modules, in one place.

Where such a name moves, this file changes and no test does. What is public comes from the public door. What
one test file alone needs, since it tests that module, it imports itself.
"""

from __future__ import annotations

from hoox_async._api.endpoints import WireRequest as WireRequest
from hoox_async._api.endpoints import WireResponse as WireResponse
from hoox_async._api.endpoints import status_request as status_request
from hoox_async._api.models import ServerQuota as ServerQuota
from hoox_async._api.pictures import image_size as image_size
from hoox_async._api.responses import read_looks as read_looks
from hoox_async._api.responses import read_status as read_status
from hoox_async._api.webhook_payloads import Delivery as Delivery
from hoox_async._batch.admission import decide_sending as decide_sending
from hoox_async._batch.items import Item as Item
from hoox_async._batch.options import BatchOptions as BatchOptions
from hoox_async._batch.options import retry_states as retry_states
from hoox_async._batch.stop_signal import StopSignal as StopSignal
from hoox_async._batch.window import ENOUGH_UNSENT as ENOUGH_UNSENT
from hoox_async._batch.window import MAX_UNDELIVERED as MAX_UNDELIVERED
from hoox_async._batch.window import MAX_UNSENT as MAX_UNSENT
from hoox_async._core.intents.budget import StoredBudget as StoredBudget
from hoox_async._core.intents.budget import charges as charges
from hoox_async._core.intents.intent import Intent as Intent
from hoox_async._core.intents.intent import IntentState as IntentState
from hoox_async._core.intents.intent import Reason as Reason
from hoox_async._core.intents.keys import digest as digest
from hoox_async._core.intents.records import dump_intent as dump_intent
from hoox_async._core.intents.records import load_intent as load_intent
from hoox_async._core.intents.send_decision import Outstanding as Outstanding
from hoox_async._core.intents.send_decision import SendDecision as SendDecision
from hoox_async._core.intents.transitions import Accept as Accept
from hoox_async._core.intents.transitions import AddCandidates as AddCandidates
from hoox_async._core.intents.transitions import Correct as Correct
from hoox_async._core.intents.transitions import Drop as Drop
from hoox_async._core.intents.transitions import IfUnchanged as IfUnchanged
from hoox_async._core.intents.transitions import IllegalTransition as IllegalTransition
from hoox_async._core.intents.transitions import LookTaken as LookTaken
from hoox_async._core.intents.transitions import MarkUnknown as MarkUnknown
from hoox_async._core.intents.transitions import NoteDelivered as NoteDelivered
from hoox_async._core.intents.transitions import Reject as Reject
from hoox_async._core.intents.transitions import Replace as Replace
from hoox_async._core.intents.transitions import Resend as Resend
from hoox_async._core.intents.transitions import Revert as Revert
from hoox_async._core.intents.transitions import Send as Send
from hoox_async._core.intents.transitions import Settle as Settle
from hoox_async._core.intents.transitions import Transition as Transition
from hoox_async._core.intents.transitions import advance as advance
from hoox_async._core.polling import LookUpdate as LookUpdate
from hoox_async._io.clock import Clock as Clock
from hoox_async._io.downloads import read_picture as read_picture
from hoox_async._io.hooks import Hooks as Hooks
from hoox_async._io.ledger.failover import RecentWrite as RecentWrite
from hoox_async._io.ledger.failover import restore as restore
from hoox_async._io.ledger.file_lock import FileLock as FileLock
from hoox_async._io.ledger.intent_rows import Row as Row
from hoox_async._io.ledger.ledger import Delivered as Delivered
from hoox_async._io.ledger.ledger import Ledger as Ledger
from hoox_async._io.ledger.local_ledger import FileLedger as FileLedger
from hoox_async._io.ledger.local_ledger import MemoryLedger as MemoryLedger
from hoox_async._io.ledger.offline import offline_file as offline_file
from hoox_async._io.ledger.opening import open_store as open_store
from hoox_async._io.ledger.postgres import PostgresEngine as PostgresEngine
from hoox_async._io.ledger.postgres_connections import Connections as Connections
from hoox_async._io.ledger.postgres_connections import execute_message as execute_message
from hoox_async._io.ledger.postgres_schema import MIGRATIONS as MIGRATIONS
from hoox_async._io.ledger.postgres_schema import Migration as Migration
from hoox_async._io.ledger.postgres_url import DatabaseUrl as DatabaseUrl
from hoox_async._io.ledger.shared_ledger import SharedLedger as SharedLedger
from hoox_async._io.ledger.statements import postgres as postgres
from hoox_async._io.ledger.transaction import Transaction as Transaction
from hoox_async._io.protocols import BeforeSend as BeforeSend
from hoox_async._io.protocols import Coordination as Coordination
from hoox_async._io.protocols import Fetched as Fetched
from hoox_async._io.protocols import SentPermit as SentPermit
from hoox_async._io.protocols import SharedPermits as SharedPermits
from hoox_async._io.protocols import Workspace as Workspace
from hoox_async._io.tasks import TaskSet as TaskSet
from hoox_async._io.transport import HttpTransport as HttpTransport
from hoox_async._io.transport import PictureFetcher as PictureFetcher
from hoox_async._session import runtime_of as runtime_of
from hoox_async._session.process_quota import ProcessQuota as ProcessQuota
from hoox_async._session.rate_limiter import Permit as Permit
from hoox_async._session.rate_limiter import RateLimiter as RateLimiter
