"""The embedded model server: OpenAI's Realtime protocol on a loopback WebSocket, without an account or a network.

It serves the demo, the tests, the load runs and whoever develops an agent. Its brain is a YAML script. The session is
sans-I/O (`session.py`); `server.py` drives it over `websockets`, `worker.py` hears and speaks for it in one thread.
This room may import `rtp.codec` for G.711 and nothing else of the house; the gateway reaches it by WebSocket only.
"""
