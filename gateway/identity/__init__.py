"""Who vouches for a caller's number: STIR/SHAKEN (RFC 8224, 8225, 8588, 8946) and the carrier's own verdict.

    verdict.py       what came of it, and what follows from it
    passport.py      Identity headers and the PASSporTs in them
    certificate.py   certificate chains and the roots that are trusted
    verification.py  the decision, sans-I/O: `examine` what came, `judge` it with the certificates
    verstat.py       X-Twilio-VerStat
    guard.py         which addresses a URL from the wire may lead to
    fetch.py         certificates over HTTPS, cached and shared
    check.py         one call's check, bounded in time

`sip` is imported for messages only; nothing here knows calls, legs or models.
"""
