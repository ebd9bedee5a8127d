"""baresip, a softphone of another family, without a sound card: it plays a tone and keeps what it hears as a WAV file.

It is driven through its ctrl_tcp module: JSON in netstrings.
"""

import json
import socket
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from tests.helpers.peer_process import PeerProcess, free_ports
from tests.helpers.sipp import LOOPBACK

MODULES: Final = Path("/usr/lib/baresip/modules")
TONE_HZ: Final = 440
TONE_S: Final = 20
TONE_AMPLITUDE: Final = 8000
STARTED_WITHIN_S: Final = 10.0
EVENT_WITHIN_S: Final = 15.0
RTP_PORTS: Final = 20
SAMPLES_OF_A_SECOND: Final = 8000

_CONFIGURATION: Final = """\
poll_method epoll
net_interface {host}
sip_listen {sip_host}:{sip_port}
sip_certificate {bundle}
sip_cafile {authority}
audio_source aufile,{folder}/tone.wav
audio_player aubridge,nowhere
audio_alert aubridge,nowhere
ausrc_srate 8000
auplay_srate 8000
ausrc_channels 1
auplay_channels 1
rtp_ports {first_port}-{last_port}
rtcp_mux no
jitter_buffer_delay 1-5
module_path {modules}
module g711.so
module aufile.so
module aubridge.so
module sndfile.so
module srtp.so
module_app account.so
module_app menu.so
module ctrl_tcp.so
ctrl_tcp_listen {control_host}:{control_port}
snd_path {folder}
"""

Event = dict[str, Any]


class Baresip(PeerProcess):
    """A softphone with one account.

    Args:
        folder: its configuration and what it records.
        transport: udp, tcp or tls.
        parameters: of the account, such as ";mediaenc=srtp-mand".
        authority: whom it trusts as an authority over TLS, in PEM.
        bundle: its own key and certificate, in PEM; it wants one where it listens for TLS.
        host: the address that it calls from; "::1" for IPv6.
    """

    def __init__(
        self,
        folder: Path,
        *,
        transport: str = "udp",
        parameters: str = "",
        authority: Path | None = None,
        bundle: Path | None = None,
        host: str = LOOPBACK,
    ) -> None:
        version, sip_host = ("-6", f"[{host}]") if ":" in host else ("-4", host)
        super().__init__(["baresip", version, "-v", "-s", "-f", str(folder)], folder)
        self._account = f"<sip:baresip@{sip_host};transport={transport}>;regint=0;audio_codecs=PCMU{parameters}\n"
        self._sip_port, self._control_port, first_port = free_ports(3)
        self._configuration = _CONFIGURATION.format(
            host=host, sip_host=sip_host, control_host=LOOPBACK, sip_port=self._sip_port,
            control_port=self._control_port, first_port=first_port,
            last_port=first_port + RTP_PORTS, modules=MODULES, folder=folder,
            authority=authority or "", bundle=bundle or "",
        )  # fmt: skip
        self._connection: socket.socket | None = None
        self._received = b""
        self.events: list[Event] = []

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration = [line for line in self._configuration.splitlines() if len(line.split()) > 1]
        (self.folder / "config").write_text("\n".join(configuration) + "\n")
        (self.folder / "accounts").write_text(self._account)
        (self.folder / "contacts").touch()
        _write_tone(self.folder / "tone.wav")
        super().__enter__()
        self._connection = self._connect()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._connection is not None:
            self._connection.close()
        super().__exit__(*exc_info)

    @property
    def uri(self) -> str:
        """Where it can be called, over UDP."""
        return f"sip:baresip@{LOOPBACK}:{self._sip_port}"

    def dial(self, uri: str) -> str:
        """Places a call, waits until it is established, and gives its Call-ID."""
        self.command("dial", uri)
        return str(self.wait_for("CALL_ESTABLISHED")["id"])

    def hang_up(self) -> None:
        """Ends the call and waits for its end."""
        self.command("hangup")
        self.wait_for("CALL_CLOSED")

    def command(self, name: str, parameters: str = "") -> None:
        """Carries out one of baresip's commands, and waits for its answer."""
        assert self._connection is not None
        message = json.dumps({"command": name, "params": parameters, "token": name}).encode()
        self._connection.sendall(b"%d:%s," % (len(message), message))
        self._wait(lambda value: bool(value.get("response")) and value.get("token") == name, name)

    def wait_for(self, kind: str) -> Event:
        """The first event of this kind, past or to come."""
        return self._wait(lambda value: value.get("type") == kind, kind)

    def heard(self) -> NDArray[np.int16]:
        """What it has heard and decoded since its media was last set up, as samples; to be asked after the call.

        The name of each recording ends with the second of its begin: let a second pass between two re-INVITEs.
        """
        path = max(self.folder.glob("dump-*-dec.wav"))
        with wave.open(str(path)) as recording:
            return np.frombuffer(recording.readframes(recording.getnframes()), np.int16)

    def _wait(self, matches: Any, what: str) -> Event:
        deadline = time.monotonic() + EVENT_WITHIN_S
        while True:
            for event in self.events:
                if matches(event):
                    return event
            if time.monotonic() >= deadline or self.has_ended:
                raise AssertionError(f"baresip did not say {what}; events {self.events}\n{self.console[-6000:]}")
            self.events += self._receive()  # all of them: an event may come in one segment with a command's answer

    def _receive(self) -> Iterator[Event]:
        assert self._connection is not None
        try:
            self._received += self._connection.recv(65_536)
        except TimeoutError:
            return
        while (colon := self._received.find(b":")) > 0:
            end = colon + 1 + int(self._received[:colon])
            if len(self._received) <= end:  # the netstring's last comma is still to come
                return
            value, self._received = self._received[colon + 1 : end], self._received[end + 1 :]
            yield json.loads(value)

    def _connect(self) -> socket.socket:
        deadline = time.monotonic() + STARTED_WITHIN_S
        while True:
            try:
                connection = socket.create_connection((LOOPBACK, self._control_port), timeout=0.2)
            except OSError:
                assert time.monotonic() < deadline and not self.has_ended, f"baresip did not start\n{self.console}"  # noqa: PT018
                time.sleep(0.05)
            else:
                return connection


def _write_tone(path: Path) -> None:
    angles = np.arange(TONE_S * SAMPLES_OF_A_SECOND) * (2 * np.pi * TONE_HZ / SAMPLES_OF_A_SECOND)
    with wave.open(str(path), "wb") as tone:
        tone.setnchannels(1)
        tone.setsampwidth(2)
        tone.setframerate(SAMPLES_OF_A_SECOND)
        tone.writeframes((TONE_AMPLITUDE * np.sin(angles)).astype("<i2").tobytes())


def tone_share(samples: NDArray[np.int16], frequency_hz: int, rate_hz: int = SAMPLES_OF_A_SECOND) -> float:
    """How much of the sound's power lies within 10 Hz of a frequency: 0 to 1; 0 for silence."""
    spectrum = np.abs(np.fft.rfft(samples.astype(np.float64) * np.hanning(len(samples)))) ** 2
    frequencies = np.fft.rfftfreq(len(samples), 1 / rate_hz)
    total = float(spectrum.sum())
    return float(spectrum[np.abs(frequencies - frequency_hz) <= 10].sum()) / total if total else 0.0
