"""What makes Trunkline a gateway: calls, legs, the bridge, agents, model backends, recording, the command line.

This package may import `sip` and `rtp` and everything else; they never import it. Its rooms know as little of one
another as they can: a backend knows nothing of SIP, a call knows nothing of JSON, and the configuration's values
are handed down, never looked up.
"""
