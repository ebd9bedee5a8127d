"""The transports: the only code under `sip` that sees sockets, asyncio or the loop's clock.

`flow` holds plain values (addresses, flows, targets) and is shared with the sans-I/O core. `endpoint` drives a
`UserAgent` over the datagram sockets of `udp` and the `connections` of `stream` and `tls`; `delivery` finds the way to
a target with `resolver` (RFC 3263). `census`, `certificate`, `srv` and `hunt` are policy alone, in virtual time.
"""
