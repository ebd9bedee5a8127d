"""One call: its actor, its transition table, its conversation and its record.

A call knows SIP sessions, media legs and model sessions by their seams. It knows nothing of JSON on the model's wire
and nothing of sockets.
"""
