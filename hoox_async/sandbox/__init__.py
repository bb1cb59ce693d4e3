"""A real local server of the API, and the fake workspace behind it: for tests, demos and benchmarks."""

from ._sandbox import Sandbox
from ._values import Charge
from .deliveries import DeliveryOptions
from .faults import Fault
from .in_process import InProcessTransport
from .space import Space

__all__ = ["Charge", "DeliveryOptions", "Fault", "InProcessTransport", "Sandbox", "Space"]
