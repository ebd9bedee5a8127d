"""Rules about what far ends may have us dial: it can be dialled, and its answers are heard."""

from collections.abc import Iterator

from gateway.config.finding import Finding, Subject
from gateway.config.trunk import TrunkSettings
from gateway.config.value import parse_address
from sip.uri import Uri


def referrals_can_be_dialled(subject: Subject) -> Iterator[Finding]:
    """A listed number has a host, and a listed address is one that the trunk hears."""
    for name, trunk in subject.configuration.trunks.items():
        if trunk.outbound.proxy is not None and (reason := _unheard(trunk, Uri.parse(trunk.outbound.proxy))):
            yield Finding(("trunks", name, "outbound", "proxy"), reason)
        for index, permission in enumerate(trunk.refer.allow):
            path = ("trunks", name, "refer", "allow", index)
            if permission.startswith("+"):
                if not trunk.outbound.takes_numbers:
                    yield Finding(path, "is a number, and the trunk's `outbound` has neither sip_host nor proxy")
            elif trunk.outbound.proxy is None and (reason := _unheard(trunk, Uri.parse(permission))):
                yield Finding(path, reason)


def _unheard(trunk: TrunkSettings, uri: Uri) -> str | None:
    """What is wrong with an address that SIP would be sent to; a name's addresses are known when it is asked."""
    try:
        address = parse_address(uri.host.strip("[]"))
    except ValueError:
        return None
    if trunk.admits(address):
        return None
    return f"{uri.host} is not among the addresses that the trunk accepts, so its answers would meet silence"
