"""The grammar of RFC 3261 §25, as regular expressions, each under the ABNF that it stands for.

They are applied with `fullmatch` to header text that is already decoded and unfolded, so LWS is spaces and tabs and
no CR or LF is left in it. Every repetition is possessive (`*+`, `++`): none can be matched in two ways, so none can
backtrack, and the cost of a match is linear in the text. A leniency stands beside its reason and the peer that needs
it.
"""

import re
from typing import Final

# More parameters than this in one URI or header value are an attack or an accident. An IMS handset sends fifteen.
PARAMETER_LIMIT: Final = 32

# token       =  1*(alphanum / "-" / "." / "!" / "%" / "*" / "_" / "+" / "`" / "'" / "~" )
_TOKEN: Final = r"[A-Za-z0-9\-.!%*_+`'~]++"  # noqa: S105
TOKEN: Final = re.compile(_TOKEN)

# quoted-string  =  SWS DQUOTE *(qdtext / quoted-pair ) DQUOTE
# quoted-pair    =  "\" (%x00-09 / %x0B-0C / %x0E-7F)
_QUOTED: Final = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
QUOTED_STRING: Final = re.compile(_QUOTED, re.DOTALL)

# unreserved  =  alphanum / mark ;  mark = "-" / "_" / "." / "!" / "~" / "*" / "'" / "(" / ")"
# escaped     =  "%" HEXDIG HEXDIG
_ESCAPED: Final = r"%[0-9A-Fa-f]{2}"

# hostname         =  *( domainlabel "." ) toplabel [ "." ]
# IPv4address      =  1*3DIGIT "." 1*3DIGIT "." 1*3DIGIT "." 1*3DIGIT
# IPv6reference    =  "[" IPv6address "]"
# Here a host is only cut out; `sip.uri.is_host` decides. Underscores are let through: Docker Compose and Kubernetes
# name services with them, and SIPp and PBXes in such networks put those names into Via and Contact.
_HOST: Final = r"(?:[A-Za-z0-9._\-]++|\[[0-9A-Fa-f:.]++\])"

HOSTNAME: Final = re.compile(r"[A-Za-z0-9_]++(?:-++[A-Za-z0-9_]++)*+(?:\.[A-Za-z0-9_]++(?:-++[A-Za-z0-9_]++)*+)*+\.?+")
# Without leading zeros, which some read as octal.
_OCTET: Final = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9][0-9]|[0-9])"
IPV4_ADDRESS: Final = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")

# port  =  1*DIGIT      (bounded: 65535 with leading zeros is a port, a megabyte of digits is not)
_PORT: Final = r"[0-9]{1,10}+"

# user           =  1*( unreserved / escaped / user-unreserved )
# user-unreserved=  "&" / "=" / "+" / "$" / "," / ";" / "?" / "/"
# "#" must be escaped by the RFC. Grandstream phones send dialled star codes with a bare "#" unless told otherwise.
_USER: Final = rf"(?:[A-Za-z0-9\-_.!~*'()&=+$,;?/#]++|{_ESCAPED})++"
# password       =  *( unreserved / escaped / "&" / "=" / "+" / "$" / "," )
_PASSWORD: Final = rf"(?:[A-Za-z0-9\-_.!~*'()&=+$,]++|{_ESCAPED})*+"

# uri-parameters =  *( ";" uri-parameter ) ;  pname, pvalue = 1*paramchar
# paramchar      =  "[" / "]" / "/" / ":" / "&" / "+" / "$" / unreserved / escaped
# "=" within a value is let through: proxies that keep state in Record-Route parameters put padded base64 there.
_PARAMCHARS: Final = rf"(?:[A-Za-z0-9\-_.!~*'()\[\]/:&+$]++|{_ESCAPED})++"
_PARAMVALUE: Final = rf"(?:[A-Za-z0-9\-_.!~*'()\[\]/:&+$=]++|{_ESCAPED})++"
_URI_PARAMS: Final = rf"(?:;{_PARAMCHARS}(?:={_PARAMVALUE})?+){{0,{PARAMETER_LIMIT}}}+"
URI_PARAM: Final = re.compile(r";([^;=]++)(?:=([^;]++))?+")

# headers        =  "?" header *( "&" header ) ;  header = hname "=" hvalue
# hnv-unreserved =  "[" / "]" / "/" / "?" / ":" / "+" / "$"
_HNV: Final = rf"(?:[A-Za-z0-9\-_.!~*'()\[\]/?:+$]++|{_ESCAPED})"
_URI_HEADERS: Final = rf"{_HNV}++={_HNV}*+(?:&{_HNV}++={_HNV}*+){{0,{PARAMETER_LIMIT}}}+"

# SIP-URI  =  "sip:" [ userinfo ] hostport uri-parameters [ headers ]         (SIPS-URI likewise)
SIP_URI: Final = re.compile(
    rf"([Ss][Ii][Pp][Ss]?+):(?:({_USER})(?::({_PASSWORD}))?+@)?+({_HOST})(?::({_PORT}))?+({_URI_PARAMS})(?:\?({_URI_HEADERS}))?+"
)
# RFC 3966:  telephone-uri = "tel:" telephone-subscriber ;  digits with visual separators, then parameters.
# HEXDIG, "*" and "#" belong to local numbers.
TEL_URI: Final = re.compile(rf"([Tt][Ee][Ll]):(\+?+[0-9A-Fa-f*#\-.()]++)({_URI_PARAMS})")
# absoluteURI  =  scheme ":" ( hier-part / opaque-part ) ;  scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )
# Brackets are not in RFC 2396's set; they are in that of RFC 3986, for IPv6 in a hier-part.
ABSOLUTE_URI: Final = re.compile(
    rf"([A-Za-z][A-Za-z0-9+\-.]*+):((?:[A-Za-z0-9\-_.!~*'();/?:@&=+$,#\[\]]++|{_ESCAPED})++)"
)

# generic-param  =  token [ EQUAL gen-value ] ;  gen-value = token / host / quoted-string
# "received" holds IPv6 addresses bare by the ABNF, and in brackets from half of the world; RFC 5118 §4.5 wants both.
_GEN_VALUE: Final = rf"(?:[A-Za-z0-9\-.!%*_+`'~\[\]:]++|{_QUOTED})"
GENERIC_PARAMS: Final = re.compile(
    rf"(?:[ \t]*+;[ \t]*+{_TOKEN}(?:[ \t]*+=[ \t]*+{_GEN_VALUE})?+){{0,{PARAMETER_LIMIT}}}+[ \t]*+", re.DOTALL
)
GENERIC_PARAM: Final = re.compile(rf";[ \t]*+({_TOKEN})(?:[ \t]*+=[ \t]*+({_GEN_VALUE}))?+", re.DOTALL)
GEN_VALUE: Final = re.compile(_GEN_VALUE, re.DOTALL)

# name-addr     =  [ display-name ] LAQUOT addr-spec RAQUOT ;  display-name = *(token LWS) / quoted-string
# An unquoted display name may here hold what a token may not, UTF-8 above all: Asterisk and FreeSWITCH send caller
# names as the PSTN or a directory delivers them. The comma, semicolon and quotation mark stay out: with them the
# value is ambiguous, and RFC 4475 §3.1.2.6 and §3.1.2.15 ask for a 400.
NAME_ADDR: Final = re.compile(rf"(?:({_QUOTED})|([^\"<>,;]*+))[ \t]*+<([^<>\"]*+)>[ \t]*+(.*+)", re.DOTALL)
# addr-spec without brackets: what follows the first ";" belongs to the header field (§20.10, §20.20, §20.39).
ADDR_SPEC: Final = re.compile(r"([^<>\";,? \t]++)[ \t]*+(.*+)", re.DOTALL)

# via-parm       =  sent-protocol LWS sent-by *( SEMI via-params ) ;  sent-by = host [ COLON port ]
# sent-protocol  =  protocol-name SLASH protocol-version SLASH transport
# Name and version are tokens: a 505 must be able to copy "SIP/7.0/UDP".
VIA: Final = re.compile(
    rf"({_TOKEN})[ \t]*+/[ \t]*+({_TOKEN})[ \t]*+/[ \t]*+({_TOKEN})[ \t]++"
    rf"({_HOST})(?:[ \t]*+:[ \t]*+({_PORT}))?+(.*+)",
    re.DOTALL,
)

# CSeq  =  1*DIGIT LWS Method
CSEQ: Final = re.compile(rf"([0-9]++)[ \t]++({_TOKEN})")

# callid  =  word [ "@" word ]
# It is opaque and compared byte for byte (§8.1.1.4), so any visible ASCII will do, except the comma that would hide a
# second value. "=" is in no word and yet stands in identifiers made of padded base64.
CALL_ID: Final = re.compile(r"[!-+\--~]++")

# media-type  =  m-type SLASH m-subtype *(SEMI m-parameter)
MEDIA_TYPE: Final = re.compile(rf"({_TOKEN})[ \t]*+/[ \t]*+({_TOKEN})(.*+)", re.DOTALL)

# A value with parameters, the shape of Reason, Event, Session-Expires, Replaces, Subscription-State and many
# extensions.
PARAMETER_VALUE: Final = re.compile(r"([^;\",]++)(.*+)", re.DOTALL)

# Request-Line  =  Method SP Request-URI SP SIP-Version CRLF ;  SIP-Version = "SIP" "/" 1*DIGIT "." 1*DIGIT
REQUEST_LINE: Final = re.compile(rf"({_TOKEN}) ([^ \t]++) [Ss][Ii][Pp]/([0-9]++)\.([0-9]++)")
# Status-Line  =  SIP-Version SP Status-Code SP Reason-Phrase CRLF
STATUS_LINE: Final = re.compile(r"[Ss][Ii][Pp]/([0-9]++)\.([0-9]++) ([1-6][0-9]{2}) (.*+)")

# The parts of a comma-separated list: quotations and addresses in brackets are crossed whole.
LIST_PART: Final = re.compile(rf"[^\",<]++|{_QUOTED}|<[^<>\"]*+>|(,)", re.DOTALL)

# What no header line may hold: controls other than HTAB, save as a quoted-pair (RFC 4475 §3.1.1.2 has NUL, BEL and
# DEL so).
BARE_CONTROL: Final = re.compile(r"(?<!\\)[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
FOLD: Final = re.compile(r"\r\n[ \t]++")


def parse_number(text: str, limit: int) -> int | None:
    """Reads 1*DIGIT. None when `text` is anything else or above `limit`. Leading zeros are fine, huge numbers cheap."""
    if not (text.isascii() and text.isdigit()):
        return None
    significant = text.lstrip("0")
    if len(significant) > 20:
        return None
    number = int(significant or "0")
    return number if number <= limit else None


def quote(text: str) -> str:
    """`text` as a quoted-string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def unquote(text: str) -> str:
    """What a quoted-string says; text that is not quoted comes back as it is."""
    if not (len(text) >= 2 and text[0] == '"' == text[-1]):
        return text
    text = text[1:-1]
    # A run of backslashes pairs up from its left. LF marks the pairs meanwhile: it can stand in no header field. (A
    # regex does this too, at 0.5 µs for each of the 16,000 escapes that a hostile name can hold.)
    return text.replace("\\\\", "\n").replace("\\", "").replace("\n", "\\") if "\\" in text else text
