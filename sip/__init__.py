"""SIP as RFC 3261 cuts it: syntax, transactions, dialogs, sessions, descriptions.

This room knows the protocol and nothing of calls, models or media. It is sans-I/O: its cores take bytes and `now` and
give back values and events. Only `sip.transport` may touch asyncio, sockets or TLS. It imports neither `rtp` nor
`gateway`.
"""
