"""The seam between a call and a speech-to-speech model: values, events and one Protocol.

This room holds no I/O and imports neither `sip` nor `rtp` nor any backend. A call speaks to a model only through
what stands here.
"""
