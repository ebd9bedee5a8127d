"""Rules about who may call and who vouches for callers: credentials, registrations, verification of numbers."""

from collections.abc import Iterator

from gateway.carrier import Carrier
from gateway.config.errors import FaultLevel
from gateway.config.finding import Finding, Subject
from gateway.config.identity import IdentityCheckKind, IdentityPolicySettings
from gateway.config.source import TreePath
from gateway.config.trunk import TrunkSettings
from gateway.config.value import parse_address, suggestion
from gateway.identity.certificate import TrustList
from gateway.identity.errors import TrustListError


def credentials_are_usable(subject: Subject) -> Iterator[Finding]:
    """A user stands once, and nobody is challenged who cannot answer."""
    for name, trunk in subject.configuration.trunks.items():
        path = ("trunks", name)
        if trunk.credentials and trunk.carrier is Carrier.TWILIO:
            reason = "would fail every call: Twilio answers no challenge, its addresses are its authentication"
            yield Finding((*path, "credentials"), reason, at_key=True)
        users = [credential.user for credential in trunk.credentials]
        for index, user in enumerate(users):
            if user in users[:index]:
                yield Finding((*path, "credentials", index, "user"), f"{user!r} stands a second time")
        if trunk.realm is not None and not trunk.credentials:
            yield Finding(
                (*path, "realm"), "has no effect, since the trunk has no credentials", FaultLevel.WARNING, at_key=True
            )


def registrars_are_reachable(subject: Subject) -> Iterator[Finding]:
    """A trunk that registers hears the registrar's answers, and belongs to somebody who keeps registrations."""
    for name, trunk in subject.configuration.trunks.items():
        if trunk.registration is None:
            continue
        path = ("trunks", name, "register")
        if trunk.carrier is Carrier.TWILIO:
            yield Finding(path, "is not for Twilio: its trunks keep no registrations", at_key=True)
        host = trunk.registration.registrar_uri.host.strip("[]")
        try:
            address = parse_address(host)
        except ValueError:
            continue  # a name: its addresses are known when it is asked
        if not trunk.admits(address):
            reason = f"{host} is not among the addresses that the trunk accepts, so its answers would meet silence"
            yield Finding((*path, "registrar"), reason)


def identity_policies_are_consistent(subject: Subject) -> Iterator[Finding]:
    """What a policy waits for can happen, and leads to agents that exist."""
    shared = subject.configuration.identity
    if shared.trust_list is not None:
        try:
            TrustList.load(shared.trust_list)
        except TrustListError as error:
            yield Finding(("identity", "trust_list"), str(error))
    for name, trunk in subject.configuration.trunks.items():
        path = ("trunks", name, "identity")
        yield from _policy(subject, path, trunk)
        if trunk.identity.verify is IdentityCheckKind.PASSPORT and shared.trust_list is None:
            reason = "without identity.trust_list no certificate is trusted: every rightly signed call is 'untrusted'"
            yield Finding((*path, "verify"), reason, FaultLevel.WARNING)


def _policy(subject: Subject, path: TreePath, trunk: TrunkSettings) -> Iterator[Finding]:
    policy = trunk.identity
    if policy.verify is IdentityCheckKind.CARRIER and trunk.carrier is not Carrier.TWILIO:
        reason = "'carrier' is for trunks of the carrier 'twilio'; nobody else's header is believed"
        yield Finding((*path, "verify"), reason)
    if policy.verify is IdentityCheckKind.OFF and _says_something(policy):
        yield Finding(path, "has no effect, since verify is 'off'", FaultLevel.WARNING, at_key=True)
    for status, agent in policy.route.items():
        place = (*path, "route", status.value)
        if subject.agent_names is not None and agent not in subject.agent_names:
            yield Finding(place, f"there is no agent {agent!r}{suggestion(agent, subject.agent_names)}")
        if status in policy.refuse:
            yield Finding(place, f"has no effect, since {status.value!r} is refused", at_key=True)


def _says_something(policy: IdentityPolicySettings) -> bool:
    return bool(policy.refuse or policy.route or policy.tell_agent)
