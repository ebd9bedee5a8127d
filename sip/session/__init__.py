"""INVITE sessions: what a user agent does between an INVITE and its BYE, in both roles (RFC 3261 §13 to §15).

Sans-I/O. Bodies pass through as bytes: offer/answer is the business of `sip.sdp` and of the session's user.
"""
