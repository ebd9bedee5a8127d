"""The parts of RFC 8866 §9 that carry meaning for us, each regular expression under its ABNF.

All are meant for `fullmatch`. Digits are `[0-9]`, since the class for digits also takes those of other scripts.
"""

import re
from typing import Final

# token = 1*(token-char); token-char = %x21 / %x23-27 / %x2A-2B / %x2D-2E / %x30-39 / %x41-5A / %x5E-7E
NAME: Final = r"[!#-'*+\-.0-9A-Z^-~]+"

# attribute-name = token
ATTRIBUTE_NAME: Final = re.compile(NAME)

# o=<username> <sess-id> <sess-version> <nettype> <addrtype> <unicast-address>
# Numbers are "numeric strings" without an upper bound in the RFC; 32 digits is far above any NTP or 64-bit value seen.
ORIGIN: Final = re.compile(r"(\S+) +([0-9]{1,32}) +([0-9]{1,32}) +(\S+) +(\S+) +(\S+)")

# c=<nettype> <addrtype> <connection-address>; the address may carry /ttl/count when it is a multicast group.
CONNECTION: Final = re.compile(r"(\S+) +(\S+) +(\S+)")

# t=<start-time> <stop-time>
TIMING: Final = re.compile(r"([0-9]{1,20}) +([0-9]{1,20})")

# b=<bwtype>:<bandwidth>
BANDWIDTH: Final = re.compile(rf"({NAME}):([0-9]{{1,20}})")

# m=<media> <port>["/"<number of ports>] <proto> 1*(<fmt>); proto = token *("/" token)
MEDIA: Final = re.compile(rf"({NAME}) +([0-9]{{1,5}})(?:/([0-9]{{1,5}}))? +({NAME}(?:/{NAME})*) +(\S+(?: +\S+)*)")

# rtpmap-value = payload-type SP encoding-name "/" clock-rate [ "/" encoding-params ]
RTPMAP: Final = re.compile(rf"([0-9]{{1,3}}) +({NAME})/([0-9]{{1,6}})(?:/([0-9]{{1,2}}))?(?:/.*)?")

# fmtp-value = fmt SP format-specific-params
FMTP: Final = re.compile(r"(\S+) +(.+)")

# RFC 3605 §2.1: rtcp-attribute = port [nettype space addrtype space connection-address]
RTCP: Final = re.compile(r"([0-9]{1,5})(?: +IN +(IP4|IP6) +(\S+))?")

# ptime-value = non-zero-int-or-real (RFC 8866 §6.4). Fractions are read and dropped: no codec here has any.
PACKET_TIME: Final = re.compile(r"([0-9]{1,5})(?:\.[0-9]{1,6})?")

PORT: Final = re.compile(r"[0-9]{1,5}")

# A static or dynamic RTP payload type (RFC 3551): seven bits.
PAYLOAD_TYPE: Final = re.compile(r"[0-9]{1,3}")
