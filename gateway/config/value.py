"""The single values of a configuration: what a scalar of the YAML may say, and what is said when it does not.

Scalars arrive as the text that was written (see `gateway.config.source`), so a number such as +15550001111 is never
taken for an integer, nor the language `no` for a boolean.
"""

import difflib
import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from gateway.carrier import Network as NetworkValue

AddressValue: TypeAlias = IPv4Address | IPv6Address

ANY_NUMBER: Final = "*"
E164: Final = re.compile(
    r"\+[1-9][0-9]{6,14}"
)  # ITU-T E.164: at most 15 digits; 7 is the shortest that is dialled whole
# RFC 3261 §25.1 `user` without escapes and parameters: what a Request-URI may carry before the "@".
USER_PART: Final = re.compile(r"[A-Za-z0-9\-_.!~*'()&=+$,;?/]+")
_FORMATTED_NUMBER: Final = re.compile(r"\+?[0-9][0-9 ().\-/]*")
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
LONGEST_NAME: Final = 64  # names become metric labels and fields of every log line
_NAME: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.\-]{{0,{LONGEST_NAME - 1}}}")


def suggestion(word: str, known: Iterable[str]) -> str:
    """A half-sentence that names what was perhaps meant, or else what there is."""
    names = sorted(known)
    if close := difflib.get_close_matches(word, names, n=1):
        return f"; did you mean {close[0]!r}?"
    return f"; there is {', '.join(names)}" if names else "; there is none"


class Settings(BaseModel):
    """What every section has in common: frozen, no unknown keys, an empty value means the default."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _leave_out_empty_values(cls, data: Any) -> Any:
        if isinstance(data, dict):
            known = {field.alias or name for name, field in cls.model_fields.items()}
            return {key: value for key, value in data.items() if value is not None or key not in known}
        return data


def leave_out_empty(value: object) -> object:
    """A mapping without the entries that hold nothing, such as a variable of the environment that is not set."""
    return {key: inner for key, inner in value.items() if inner is not None} if isinstance(value, dict) else value


def parse_address(value: object) -> AddressValue:
    """An IP address, never a name: it goes into sockets, and into SDP where names are a gamble."""
    if isinstance(value, IPv4Address | IPv6Address):
        return value
    try:
        return ip_address(str(value))
    except ValueError:
        raise ValueError(f"{str(value)!r} is not an IPv4 or IPv6 address") from None


def parse_network(value: object) -> NetworkValue:
    """An address range in CIDR form; a bare address is a range of one."""
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    text = str(value)
    try:
        network = ip_network(text)
    except ValueError:
        try:
            widened = ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f"{text!r} is not an address range such as 203.0.113.0/24") from None
        raise ValueError(f"{text!r} has bits set beyond its prefix; the range is {widened}") from None
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
        raise ValueError(f"{text!r} is an IPv4 range in IPv6 clothes; write it as IPv4")
    return network


def parse_number(value: str) -> str:
    """A dialled number: E.164 with its plus sign, the exact user part of a SIP URI, or "*" for any."""
    if value == ANY_NUMBER or E164.fullmatch(value):
        return value
    digits = re.sub(r"[^0-9]", "", value)
    if value.startswith("+") or (_FORMATTED_NUMBER.fullmatch(value) and not value.isdigit()):
        normal = f"+{digits}"
        hint = f"; write it as {normal}" if E164.fullmatch(normal) and normal != value else ""
        raise ValueError(f"{value!r} is not an E.164 number{hint}")
    if not USER_PART.fullmatch(value):
        raise ValueError(f"{value!r} cannot be the user part of a SIP URI")
    return value


def parse_name(value: str) -> str:
    """A name that the user chose for a trunk, an agent or a backend."""
    if not _NAME.fullmatch(value):
        raise ValueError(f"{value!r} is not a name: at most {LONGEST_NAME} letters, digits and . _ -, no space")
    return value


def parse_language(value: str) -> str:
    """A language tag of RFC 5646, as far as speech models know them: language, script or region."""
    if not _LANGUAGE.fullmatch(value):
        raise ValueError(f"{value!r} is not a language tag such as en or pt-BR")
    return value


def parse_input_path(value: object, info: ValidationInfo) -> Path:
    """The path of something to read; a relative one is taken from the directory of the configuration."""
    path = parse_output_path(value)
    base: Path | None = (info.context or {}).get("directory")
    return path if base is None else base / path


def parse_output_path(value: object) -> Path:
    """The path of something to write; a relative one is taken from the working directory."""
    if not isinstance(value, str | Path):
        raise ValueError("must be a path")
    return Path(value).expanduser()


Address = Annotated[
    AddressValue,
    PlainValidator(parse_address),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "format": "ip-address", "examples": ["203.0.113.10", "2001:db8::10"]}),
]
AddressRange = Annotated[
    NetworkValue,
    PlainValidator(parse_network),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "format": "cidr", "examples": ["203.0.113.0/24", "203.0.113.7"]}),
]
DialledNumber = Annotated[str, AfterValidator(parse_number)]
InputPath = Annotated[
    Path,
    PlainValidator(parse_input_path),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "format": "path"}),
]
OutputPath = Annotated[
    Path,
    PlainValidator(parse_output_path),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "format": "path"}),
]
Name = Annotated[str, AfterValidator(parse_name), WithJsonSchema({"type": "string", "pattern": f"^{_NAME.pattern}$"})]
Language = Annotated[
    str, AfterValidator(parse_language), WithJsonSchema({"type": "string", "pattern": f"^{_LANGUAGE.pattern}$"})
]
Port = Annotated[int, Field(ge=1, le=65535)]
