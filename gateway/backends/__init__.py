"""The model services behind the seam of `gateway/realtime`, one package each, and the WebSocket wire they share.

A backend translates: the seam's values to the service's messages and back. It imports neither `sip` nor `rtp`,
knows nothing of calls, and reads no configuration but the value it is built with.
"""
