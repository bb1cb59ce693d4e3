"""The one way a paid request goes. It may use all of the session but `runtime` and `session`.

1. `Submitter` holds the request's key, reads what the store has of it, and decides what is to be sent.
2. `SubmitAttempt`, in a task of the session's: reserve the credits, take a permit and the avatar's lock.
3. When the connection stands, write SENDING with a fresh attempt id, in one transaction; then POST.
4. Record what became of it: accepted, refused (no charge) or unknown; the job is followed from there.
5. What the store does not take goes to `DeferredWrites`, with the avatar's lock, and is written later.
"""

from .attempt import AttemptBudget, SendOptions
from .submitter import Submitter

__all__ = ["AttemptBudget", "SendOptions", "Submitter"]
