"""The configuration room: YAML in, one frozen `GatewayConfiguration` or the whole list of faults out.

It may touch files and the environment that it is given; it never opens a socket and knows nothing of calls.
"""
