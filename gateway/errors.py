"""The root of the gateway's errors.

GatewayError
  └─ ModelError            gateway/realtime/errors.py: no session with a speech model could be had

Every class says once how it maps to the outside: the SIP status that refuses a call for its sake, and the label
under which it is counted in the metrics.
"""

from typing import ClassVar


class GatewayError(Exception):
    """An error that the gateway can explain to a caller (`sip_status`) and to an operator (`label`)."""

    sip_status: ClassVar[int] = 500
    label: ClassVar[str] = "gateway_error"
