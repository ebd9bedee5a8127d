"""The way to a wire: name, connection, TLS and upgrade within one time, and which of them failed where one did."""

import asyncio
import socket
import ssl

from gateway.backends.endpoint import WireEndpoint
from gateway.backends.handshake import handshake_with
from gateway.backends.wire import Wire, WireReceiver
from gateway.realtime.errors import ModelRefusedError, ModelTimeoutError, ModelTlsError, ModelUnresolvedError


async def open_wire(endpoint: WireEndpoint, receiver: WireReceiver) -> Wire:
    """Connects and upgrades within `open_timeout_s`.

    Raises:
        ModelError: with the class that tells why; nothing is left open.
    """
    handshake = handshake_with(endpoint.url, endpoint.headers)
    uri = handshake.uri
    wire = Wire(endpoint, handshake, receiver)
    is_handed_over = False
    try:
        async with asyncio.timeout(endpoint.open_timeout_s):
            await asyncio.get_running_loop().create_connection(
                lambda: wire,
                uri.host,
                uri.port,
                ssl=(endpoint.tls or ssl.create_default_context()) if uri.secure else None,
            )
            await wire.opened
    except TimeoutError as error:
        message = f"no WebSocket with {uri.host}:{uri.port} within {endpoint.open_timeout_s} s"
        raise ModelTimeoutError(message) from error
    except socket.gaierror as error:
        raise ModelUnresolvedError(f"{uri.host} has no address: {error.strerror}") from error
    except ssl.SSLError as error:
        raise ModelTlsError(f"TLS with {uri.host}:{uri.port} failed: {error}") from error
    except OSError as error:
        raise ModelRefusedError(f"{uri.host}:{uri.port} refused the connection: {error}") from error
    else:
        is_handed_over = True
        return wire
    finally:
        if not is_handed_over:  # also where it was cancelled in the moment in which the upgrade came
            wire.abort()
            del wire  # what is raised holds this frame by its traceback, and the wire holds what is raised
