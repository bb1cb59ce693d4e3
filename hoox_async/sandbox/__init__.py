"""A real local server of the API, and the fake workspace behind it: for tests, demos and benchmarks."""

from .fault_injection import Fault
from .in_process_transport import InProcessTransport
from .sandbox import Sandbox
from .webhook_sender import DeliveryOptions
from .workspace import Space
from .workspace_records import Charge

__all__ = ["Charge", "DeliveryOptions", "Fault", "InProcessTransport", "Sandbox", "Space"]
