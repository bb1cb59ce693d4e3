"""A local server of the API, and the fake workspace behind it, for tests, demos and benchmarks.

`Sandbox` is the server, and `Space` the workspace, which `InProcessTransport` uses without a socket. `Fault`
says how a request can fail, `AnswerForms` and `DeliveryOptions` in which ways the API can answer and deliver.
Its prices are its own, not the client's: so a test can find a wrong one.
"""

from .answers import AnswerForms
from .fault_injection import Fault
from .in_process_transport import InProcessTransport
from .received_requests import Charge
from .sandbox import Sandbox
from .space import Space
from .webhook_sender import DeliveryOptions

__all__ = ["AnswerForms", "Charge", "DeliveryOptions", "Fault", "InProcessTransport", "Sandbox", "Space"]
