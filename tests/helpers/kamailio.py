"""Kamailio as Twilio's edge: takes calls on an inner UDP socket and passes them on, its route recorded twice (r2=on).

Requests from inside go to the gateway over the outer transport; requests that carry a Route follow it. The
Contact behind it names a private address, as behind Twilio's edge: the inner side can be reached only through here.
"""

import socket
import time
from pathlib import Path
from typing import Final, Self

from tests.helpers.certificate import CertificateFiles
from tests.helpers.peer_process import PeerProcess, free_ports
from tests.helpers.sipp import LOOPBACK, Address

STARTED_WITHIN_S: Final = 15.0
MODULES: Final = "/usr/lib/x86_64-linux-gnu/kamailio/modules/"

_CONFIGURATION: Final = """\
#!KAMAILIO
debug=2
log_stderror=yes
children=1
tcp_children=1
{enable_tls}
disable_sctp=yes
mhomed=0
listen=udp:{host}:{inner_port}
listen=udp:{host}:{outer_port}
listen=tcp:{host}:{outer_port}
{tls_listen}
mpath="{modules}"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "maxfwd.so"
loadmodule "xlog.so"
{tls_module}
modparam("rr", "enable_double_rr", 1)
modparam("rr", "append_fromtag", 0)

request_route {{
  xlog("L_WARN", "request $rm from $si:$sp over $pr to $ru via $Rp\\n");
  if (!mf_process_maxfwd_header("70")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
  if (is_method("CANCEL")) {{ if (t_check_trans()) {{ t_relay(); }} exit; }}
  if (has_totag()) {{
    if (!loose_route()) {{
      xlog("L_WARN", "no route in $rm\\n");
      if (is_method("ACK")) {{ t_check_trans(); exit; }}
      sl_send_reply("404", "Not here"); exit;
    }}
    if ($Rp == {outer_port} || $Rp == {tls_port}) {{
      # As Twilio's edge does, the private Contact is reached from the inner side, whatever it says.
      $du = "sip:{host}:" + $(ru{{uri.port}});
      $fs = "udp:{host}:{inner_port}";
    }}
    t_relay();
    exit;
  }}
  if (!t_newtran()) {{ exit; }}
  record_route();
  $du = "sip:{host}:{gateway_port};transport={transport}";
  $fs = "{transport}:{host}:{socket_port}";
  t_relay();
}}
"""
_TLS: Final = """\
[server:default]
method = TLSv1.2+
private_key = {key}
certificate = {certificate}
verify_certificate = no
require_certificate = no
[client:default]
method = TLSv1.2+
verify_certificate = yes
ca_list = {authority}
"""


class KamailioEdge(PeerProcess):
    """An edge between an inner side, on UDP, and a gateway, over `transport`."""

    def __init__(self, folder: Path, gateway: Address, transport: str, certificates: CertificateFiles) -> None:
        command = [
            "kamailio",
            "-f",
            str(folder / "kamailio.cfg"),
            "-DD",
            "-E",
            "-m",
            "32",
            "-M",
            "4",
            "-w",
            str(folder),
        ]
        super().__init__([*command, "-P", str(folder / "kamailio.pid"), "-Y", str(folder)], folder)
        inner_port, outer_port, tls_port = free_ports(3)
        self.inner: Address = (LOOPBACK, inner_port)
        self.outer: Address = (LOOPBACK, tls_port if transport == "tls" else outer_port)
        self.transport = transport
        is_tls = transport == "tls"
        tls_module = f'loadmodule "tls.so"\nmodparam("tls", "config", "{folder / "tls.cfg"}")'
        self._tls = _TLS.format(
            key=certificates.key, certificate=certificates.certificate, authority=certificates.authority
        )
        self._configuration = _CONFIGURATION.format(
            host=LOOPBACK, inner_port=inner_port, outer_port=outer_port, tls_port=tls_port, modules=MODULES,
            enable_tls="enable_tls=yes" if is_tls else "",
            tls_listen=f"listen=tls:{LOOPBACK}:{tls_port}" if is_tls else "",
            tls_module=tls_module if is_tls else "", gateway_port=gateway[1], transport=transport,
            socket_port=self.outer[1],
        )  # fmt: skip

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "kamailio.cfg").write_text(self._configuration)
        (self.folder / "tls.cfg").write_text(self._tls)
        super().__enter__()
        try:
            self._wait_until_it_answers()
        except AssertionError:
            self.__exit__()
            raise
        return self

    def _wait_until_it_answers(self) -> None:
        """An in-dialog OPTIONS without a Route gets 404 from the edge itself."""
        deadline = time.monotonic() + STARTED_WITHIN_S
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((LOOPBACK, 0))
            probe.settimeout(0.1)
            port = probe.getsockname()[1]
            request = (
                f"OPTIONS sip:edge@{LOOPBACK} SIP/2.0\r\nVia: SIP/2.0/UDP {LOOPBACK}:{port};branch=z9hG4bK-probe\r\n"
                f"From: <sip:probe@{LOOPBACK}>;tag=1\r\nTo: <sip:edge@{LOOPBACK}>;tag=2\r\nCall-ID: probe\r\n"
                "CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
            )
            while True:
                assert time.monotonic() < deadline, f"Kamailio did not start\n{self.console[-4000:]}"
                assert not self.has_ended, f"Kamailio ended\n{self.console[-4000:]}"
                try:
                    probe.sendto(request.encode(), self.inner)
                    probe.recv(65_535)
                except OSError:
                    continue
                return

    @property
    def relayed(self) -> list[str]:
        """A line for each request that passed: its method and where it came from."""
        return [line.partition("request ")[2] for line in self.console.splitlines() if "request " in line]
