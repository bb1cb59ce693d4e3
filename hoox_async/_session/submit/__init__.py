"""The path of every paid request. It may use all of the session but `runtime` and `session`.

1. `Submitter` locks the request's key, reads the key's intent from the store, and decides what to send. What
   another process is sending already is joined: `Intents.wait_changed` waits for its end.
2. `SubmitAttempt`, in a task of the session's: reserve the credits, take a permit. `SubmissionHold` gives
   none to a single submission while paid requests get no answer.
3. When the connection is made, write SENDING with a fresh attempt id, in one transaction; then POST.
4. Record the outcome: accepted, refused (no charge) or unknown. An accepted look is polled from then on.
5. An outcome that could not be written goes to `DeferredWrites`, to be written later.
"""

from .attempt import SendOptions
from .budgets import AttemptBudget, SessionBudgets
from .submitter import Submitter

__all__ = ["AttemptBudget", "SendOptions", "SessionBudgets", "Submitter"]
