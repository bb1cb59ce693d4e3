"""A local server of the API, and the fake workspace behind it, for tests, demos and benchmarks.

From this library it uses the models, endpoints, protocols and errors, and a session only where
`Sandbox.session` makes one. Its prices and its checks of requests are its own: see `received_requests`.

A new fault: `fault_injection`; `tests/test_fault_matrix.py` then asks for its row.
"""

from .answers import AnswerForms
from .fault_injection import Fault
from .in_process_transport import InProcessTransport
from .received_requests import Charge
from .sandbox import Sandbox
from .space import Space
from .webhook_sender import DeliveryOptions

__all__ = ["AnswerForms", "Charge", "DeliveryOptions", "Fault", "InProcessTransport", "Sandbox", "Space"]
