"""A local server of the API, and the fake workspace behind it, for tests, demos and benchmarks.

From this library it uses the models, endpoints, protocols and errors, and a session only where
`Sandbox.session` makes one. Its prices and its checks of requests are its own: see `request_validation`.

A new fault: `fault_injection`; `tests/test_fault_matrix.py` then asks for its row.
"""

from .answer_forms import AnswerForms
from .fault_injection import Fault
from .in_process_transport import InProcessTransport
from .sandbox import Sandbox
from .webhook_sender import DeliveryOptions
from .workspace import Space
from .workspace_records import Charge

__all__ = ["AnswerForms", "Charge", "DeliveryOptions", "Fault", "InProcessTransport", "Sandbox", "Space"]
