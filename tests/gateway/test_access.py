"""Digest, registration and the verdict about callers' numbers, in a whole gateway on loopback."""

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import gateway.service
from gateway.access import trunk_authenticator
from gateway.config.model import GatewayConfiguration
from gateway.config.trunk import TrunkSettings
from gateway.identity.check import IdentityDesk
from gateway.identity.fetch import CertificateSource
from gateway.roster import Roster
from sip.agent import UserAgent
from sip.authentication import DigestAuthenticator
from sip.configuration import AgentConfiguration
from sip.digest import DigestChallenge, DigestCredentials, parse_digest
from sip.event import AgentEvent, Answered, Ended, Failed
from sip.header import NameAddr
from sip.session.host import Authenticator
from sip.transport.endpoint import SipEndpoint
from sip.transport.udp import UdpListener
from sip.uri import Uri
from tests.fakes.realtime_server import RealtimeServer, realtime_server
from tests.fakes.registrar import Registrar
from tests.helpers.gateway_process import Record
from tests.helpers.house import House, house, obliging
from tests.helpers.patience import until
from tests.helpers.sip import OFFER
from tests.helpers.sipp import LOOPBACK
from tests.helpers.stir import NOW, Authority, GatedFetcher, Provider, invite, trust


class Reception(House):
    """A gateway with one trunk on loopback, its model, and a telephone that calls it."""

    def __init__(self, plain: House, model: RealtimeServer) -> None:
        super().__init__(plain.service, plain.folder, plain.port)
        self.model = model

    async def call(
        self, *headers: tuple[str, str], authenticator: Authenticator | None = None
    ) -> tuple[Answered | Failed, list[AgentEvent]]:
        """Calls 1000, hangs up when answered; the answer or the refusal, and every event."""
        events: list[AgentEvent] = []
        tokens = itertools.count(1)
        agent = UserAgent(AgentConfiguration(), token=lambda: f"phone{id(events):x}{next(tokens):08d}")
        endpoint = SipEndpoint(agent, listeners=[UdpListener(LOOPBACK, 0)], on_event=events.append)
        await endpoint.start()
        session = endpoint.perform(
            agent.invite,
            target=Uri.parse(f"sip:+15550001111@{LOOPBACK}:{self.port}"),
            from_=NameAddr.parse(f"<sip:+15552223333@{LOOPBACK}>"),
            offer=OFFER.replace(b"192.0.2.1", LOOPBACK.encode()),
            headers=headers,
            authenticator=authenticator,
        )
        await until(lambda: any(isinstance(event, Answered | Failed) for event in events))
        endpoint.perform(session.hang_up)
        await until(lambda: any(isinstance(event, Ended) for event in events))
        await endpoint.aclose(patience=2.0)
        return next(event for event in events if isinstance(event, Answered | Failed)), events

    def told(self) -> list[dict[str, Any]]:
        """What the models received, in order."""
        return [event for peer in self.model.peers for event in peer.received]


@asynccontextmanager
async def reception(folder: Path, **trunk: object) -> AsyncIterator[Reception]:
    def adapt(configuration: Record) -> None:
        configuration["trunks"]["loop"] |= {"numbers": {"*": "reception"}, **trunk}
        configuration["agents"] = {
            "reception": {"backends": ["model"], "instructions": "You are the reception."},
            "careful": {"backends": ["model"], "instructions": "You are careful."},
            "curious": {"backends": ["model"], "instructions": "The caller's number is [{{ verdict }}]."},
        }

    async with (
        realtime_server(obliging) as model,
        house(folder, model.url, adapt=adapt, drain_timeout_seconds=1) as plain,
    ):
        yield Reception(plain, model)


# Digest as a server and as a client (RFC 3261 §22, RFC 8760).

CREDENTIALS = [{"user": "phone", "password": "secret"}]


def phone(password: str = "secret") -> DigestAuthenticator:
    return DigestAuthenticator([DigestCredentials(LOOPBACK, "phone", password)], token=lambda: "0123456789abcdef")


async def test_caller_on_a_trunk_with_credentials_is_challenged_and_let_in(tmp_path: Path) -> None:
    async with reception(tmp_path, credentials=CREDENTIALS) as gateway:
        answer, _ = await gateway.call(authenticator=phone())
        assert isinstance(answer, Answered)


async def test_challenge_offers_sha_256_first_and_md5_and_makes_no_call__rfc8760_2_3(tmp_path: Path) -> None:
    async with reception(tmp_path, credentials=CREDENTIALS) as gateway:
        answer, _ = await gateway.call()
        assert isinstance(answer, Failed)
        assert answer.response is not None
        challenges = [parse_digest(value) for value in answer.response.headers.get_all("WWW-Authenticate")]
        assert [challenge and challenge["algorithm"] for challenge in challenges] == ["SHA-256", "MD5"]
        assert {challenge and challenge["realm"] for challenge in challenges} == {LOOPBACK}
        assert answer.status == 401
        state = gateway.service.state()
        assert state is not None
        assert (state.calls, state.dialogs) == (0, 0)
    assert not (tmp_path / "records").exists()


async def test_wrong_password_looks_like_an_unknown_user__promise_16(tmp_path: Path) -> None:
    stranger = DigestAuthenticator([DigestCredentials(LOOPBACK, "nobody", "secret")], token=lambda: "0123456789abcdef")
    async with reception(tmp_path, credentials=CREDENTIALS) as gateway:
        (wrong, _), (unknown, _) = (
            await gateway.call(authenticator=phone("no")),
            await gateway.call(authenticator=stranger),
        )
    assert isinstance(wrong, Failed)
    assert isinstance(unknown, Failed)
    assert wrong.response is not None
    assert unknown.response is not None
    names = [[name for name, _ in failed.response.headers.items()] for failed in (wrong, unknown) if failed.response]
    assert wrong.status == unknown.status == 401
    assert names[0] == names[1]
    assert "stale" not in str(wrong.response.headers.get_all("WWW-Authenticate"))


def test_calls_of_ours_show_the_trunks_credentials_in_its_realm_only__promise_15() -> None:
    shown = {"user": "trunk", "password": "secret", "realm": "sip.twilio.com"}
    base = {"carrier": "twilio", "numbers": {"*": "reception"}}
    trunk = TrunkSettings.model_validate({**base, "authenticate": shown})
    authenticator = trunk_authenticator(trunk, lambda: "0123456789abcdef")
    assert authenticator is not None
    message = invite()

    def answer(realm: str) -> tuple[str, str] | None:
        challenge = str(DigestChallenge(realm, "n", qop="auth"))
        response = message.create_response(407, to_tag="a", headers=[("Proxy-Authenticate", challenge)])
        return authenticator.authorize(message, response)

    assert answer("evil.example") is None
    field = answer("sip.twilio.com")
    assert field is not None
    assert field[0] == "Proxy-Authorization"
    assert trunk_authenticator(TrunkSettings.model_validate(base), lambda: "") is None


async def test_trunk_may_name_a_realm_of_its_own(tmp_path: Path) -> None:
    async with reception(tmp_path, credentials=CREDENTIALS, realm="desk") as gateway:
        authenticator = DigestAuthenticator([DigestCredentials("desk", "phone", "secret")], token=lambda: "0" * 16)
        answer, _ = await gateway.call(authenticator=authenticator)
        assert isinstance(answer, Answered)


# The verdict about the caller's number.


@pytest.fixture
def provider() -> Provider:
    return Provider(Authority("STI Root"))


@pytest.fixture
def fetcher(monkeypatch: pytest.MonkeyPatch, provider: Provider) -> GatedFetcher:
    """Puts a fetcher, roots and a wall clock of the test's own into every gateway."""
    fetcher = GatedFetcher(provider.pem)

    def create_desk(configuration: GatewayConfiguration, roster: Roster, stack: Any) -> IdentityDesk:
        source = CertificateSource(fetcher, lambda: 0.0)
        stack.push_async_callback(source.aclose)
        return IdentityDesk(
            trust(provider.authority), source, lambda: NOW, configuration.identity.timeout_seconds, roster
        )

    monkeypatch.setattr(gateway.service, "_create_identity_desk", create_desk)
    return fetcher


async def test_verdict_known_at_once_refuses_before_it_rings(tmp_path: Path) -> None:
    async with reception(tmp_path, identity={"verify": "passport", "refuse": ["no_signature"]}) as desk:
        answer, events = await desk.call()
        record = await desk.record()
    assert isinstance(answer, Failed)
    assert answer.response is not None
    assert answer.status == 603
    assert answer.response.headers.get("Reason") == 'STIR;cause=428;text="Use Identity Header"'
    assert [type(event).__name__ for event in events if type(event).__name__ == "Provisional"] == []
    assert record["end"]["reason"] == "identity_refused"
    assert record["identity"]["status"] == "no_signature"


async def test_verdict_that_comes_while_the_model_opens_refuses_before_the_answer(
    tmp_path: Path, fetcher: GatedFetcher, provider: Provider
) -> None:
    head, claims, rest = provider.identity().split(".", 2)
    signature, parameters = rest.split(";", 1)
    forged = f"{head}.{claims}.{signature[::-1]};{parameters}"
    async with reception(tmp_path, identity={"verify": "passport", "refuse": ["failed"]}) as desk:
        asyncio.get_running_loop().call_later(0.2, fetcher.gate.set)
        answer, _ = await desk.call(("Identity", forged))
        record = await desk.record()
    assert isinstance(answer, Failed)
    assert answer.status == 603
    assert (record["identity"]["status"], record["end"]["sip_status"]) == ("failed", 603)


async def test_passed_call_is_answered_recorded_and_told_late(
    tmp_path: Path, fetcher: GatedFetcher, provider: Provider
) -> None:
    async with reception(tmp_path, identity={"verify": "passport", "refuse": ["failed"], "tell_agent": True}) as desk:
        asyncio.get_running_loop().call_later(0.3, fetcher.gate.set)
        answer, _ = await desk.call(("Identity", provider.identity()))
        record = await desk.record()
        told = desk.told()
    assert isinstance(answer, Answered)
    assert record["identity"] == {
        "status": "passed", "source": "passport", "attestation": "A", "number": "15552223333", "diverted": False,
        "detail": None,
    }  # fmt: skip
    assert "Caller identity" in str([event for event in told if event["type"] == "conversation.item.create"])


async def test_known_verdict_stands_after_the_instructions(tmp_path: Path) -> None:
    async with reception(tmp_path, identity={"verify": "passport", "tell_agent": True}) as desk:
        await desk.call()
        await until(lambda: any(event["type"] == "session.update" for event in desk.told()))
        update = next(event for event in desk.told() if event["type"] == "session.update")
    assert "You are the reception.\\n\\nCaller identity: the telephone number of this call is not verified" in str(
        update
    )


async def test_verdict_chooses_the_agent(tmp_path: Path, fetcher: GatedFetcher, provider: Provider) -> None:
    identity = {"verify": "passport", "route": {"expired": "careful"}}
    async with reception(tmp_path, identity=identity) as desk:
        answer, _ = await desk.call(("Identity", provider.identity(iat=0)))
        record = await desk.record()
        update = next(event for event in desk.told() if event["type"] == "session.update")
    assert isinstance(answer, Answered)
    assert record["agent"] == "careful"
    assert "You are careful." in str(update)


@pytest.mark.parametrize(("identity", "verdict"), [({"verify": "passport"}, "passed"), ({"verify": "off"}, "")])
async def test_instructions_wait_for_the_verdict_that_they_name(
    tmp_path: Path, fetcher: GatedFetcher, provider: Provider, identity: dict[str, str], verdict: str
) -> None:
    async with reception(tmp_path, identity=identity, numbers={"*": "curious"}) as desk:
        asyncio.get_running_loop().call_later(0.3, fetcher.gate.set)
        answer, _ = await desk.call(("Identity", provider.identity()))
        update = next(event for event in desk.told() if event["type"] == "session.update")
    assert isinstance(answer, Answered)
    assert f"The caller's number is [{verdict}]." in str(update)


# Registration (RFC 3261 §10.2).


async def test_trunk_is_registered_called_by_its_contact_and_let_go(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with Registrar().serve() as registrar:
        register = {
            "registrar": f"{LOOPBACK}:{registrar.port}",
            "realm": "pbx.example",
            "user": "gateway",
            "password": "secret",
        }
        async with reception(tmp_path, register=register) as gateway:
            await until(lambda: registrar.bindings)
            bound = {str(uri) for contacts in registrar.bindings.values() for uri in contacts}
            assert bound == {f"sip:gateway@{LOOPBACK}:{gateway.port}"}
            await until(lambda: "registration" in caplog.messages)
            gateway.service.log_state()
        assert registrar.bindings == {f"sip:gateway@{LOOPBACK}": {}}
        assert registrar.requests[-1].headers.get("Expires") == "0"
    logged = [vars(record) for record in caplog.records if record.message == "registration"]
    assert [(line["trunk"], line["state"], line["bound"]) for line in logged] == [
        ("loop", "registered", True),
        ("loop", "ended", False),
    ]
    (state,) = (vars(record) for record in caplog.records if record.message == "state")
    assert state["registrations"]["loop"]["granted_seconds"] == 600
    assert "secret" not in caplog.text


async def test_refused_registration_is_logged_and_the_gateway_lives_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with Registrar(refuses=403).serve() as registrar:
        register = {"registrar": f"{LOOPBACK}:{registrar.port}", "user": "gateway", "password": "secret"}
        async with reception(tmp_path, register=register) as gateway:
            await until(lambda: "registration" in caplog.messages)
            answer, _ = await gateway.call()
            assert isinstance(answer, Answered)
    first = next(vars(record) for record in caplog.records if record.message == "registration")
    assert (first["levelname"], first["state"], first["status"]) == ("WARNING", "waiting", 403)
