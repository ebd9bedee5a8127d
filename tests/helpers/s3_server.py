"""A server that speaks S3, on loopback: moto's, as a process of its own that a test may stop and start again."""

import socket
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, Self

import boto3

from tests.helpers.peer_process import free_ports

HOST: Final = "127.0.0.1"
KEY_ID: Final = "a-key-id"
SECRET: Final = "a-secret-key"
BUCKET: Final = "recordings"
STARTED_WITHIN_S: Final = 30.0


class S3Server(AbstractContextManager["S3Server"]):
    """One server; what it holds is gone when it stops.

    Args:
        log: takes what it prints.
    """

    def __init__(self, log: Path) -> None:
        (self._port,) = free_ports(1)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._port}"

    def start(self) -> None:
        """Starts it and makes the bucket."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(Path(sys.executable).with_name("moto_server")), "-H", HOST, "-p", str(self._port)],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + STARTED_WITHIN_S
        while True:
            try:
                socket.create_connection((HOST, self._port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, self._log.read_text()
                assert self._process.poll() is None, self._log.read_text()
                time.sleep(0.05)
        self.client().create_bucket(Bucket=BUCKET)

    def stop(self) -> None:
        """Ends it; connections to it are refused from then on."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def client(self) -> Any:
        """Another client than the gateway's, to look at what the server holds."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=KEY_ID,
            aws_secret_access_key=SECRET,
        )

    def names(self) -> list[str]:
        """The keys of all objects."""
        return [entry["Key"] for entry in self.client().list_objects_v2(Bucket=BUCKET).get("Contents", [])]

    def content(self, name: str) -> bytes:
        """One object."""
        return bytes(self.client().get_object(Bucket=BUCKET, Key=name)["Body"].read())
