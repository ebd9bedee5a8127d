"""Session descriptions and the offer/answer model (RFC 8866, RFC 3264, RFC 4568).

This room turns SDP bodies into values and two bodies into one agreement about audio. Everything here is a pure
function of its arguments: no clock, no socket, no random source (keys come from a source that the caller passes in).

| module | what it is |
| --- | --- |
| `grammar` | regular expressions under their ABNF |
| `description` | the body as values, parsed and written |
| `codec` | audio codecs, payload types, `rtpmap` and `fmtp` |
| `crypto` | `a=crypto` values: suites, tags, keys; no cipher work |
| `errors` | every way to fail, with its status and label |
| `capability` | what we can do and where we are: the caller's half of a negotiation |
| `stream` | what one `m=audio` section means: address, direction, formats, packet time |
| `choice` | which stream, codec and key of the peer's we take |
| `section` | the `m=` sections and the description that we write |
| `agreement` | what both sides agreed on |
| `negotiation` | offer, answer, and the answer to our offer: the three functions that callers need |
"""
