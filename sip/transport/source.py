"""What the receiving transport writes into a request: RFC 3261 §18.2.1 and RFC 3581 §4."""

from sip.message import Message
from sip.transport.flow import Flow


def note_source(request: Message, flow: Flow) -> None:
    """Notes in the top Via where a request came from. Where the answer goes is the flow's to say, never this."""
    via = request.top_via
    asks_for_port = via.rport is not None
    host = flow.remote.host
    if asks_for_port or via.host.strip("[]") != host:
        received = f"[{host}]" if ":" in host else host
        request.replace_top_via(via.with_received(received, flow.remote.port if asks_for_port else None))
