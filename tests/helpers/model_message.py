"""What a model session puts on its wire, made from a protocol core alone."""

import base64

from gateway.backends.protocol import ModelProtocol


def append_message(protocol: ModelProtocol, audio: bytes) -> bytes:
    """The message that appends audio."""
    head, tail = protocol.append_envelope
    return head + base64.b64encode(audio) + tail
