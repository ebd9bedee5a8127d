"""The transports: the only code under `sip` that sees sockets, asyncio or the loop's clock.

`flow` holds plain values (addresses, flows, targets) and is shared with the sans-I/O core; `endpoint` drives a
`UserAgent` over the sockets of `udp`.
"""
