"""The store that finished recordings are brought to: one bucket of a server that speaks S3."""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from gateway.config.recording import UploadSettings
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECT_TIMEOUT_S: Final = 10
READ_TIMEOUT_S: Final = 30
_READ_OCTETS: Final = 1024 * 1024
# A store that encrypts with keys of its own names another checksum; the one that went with the upload stands then.
_OWN_CHECKSUMS: Final = frozenset(("aws:kms", "aws:kms:dsse"))


class StoreError(GatewayError):
    """The store did not take a file, or does not have what was sent. The message says what it answered."""

    label = "recording_store"


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store says that it has."""

    url: str
    size: int
    etag: str


class Store(Protocol):
    """Where files are brought. Blocks; for a worker thread."""

    def bring(self, path: Path) -> Stored:
        """Uploads a file and asks for it: what the store names must be what was sent.

        Raises:
            StoreError: it was not taken, or is not what was sent.
            OSError: the file cannot be read.
        """


class S3Store:
    """A bucket.

    Raises:
        ImportError: the extra `s3` is not installed.
        StoreError: the settings, or those of the AWS tools, name nothing that could be asked.
    """

    def __init__(self, settings: UploadSettings) -> None:
        import boto3
        import botocore.exceptions
        from botocore.config import Config

        self._settings = settings
        key_id, secret = settings.access_key_id, settings.secret_access_key
        # Its own retries would hide from the spool what happens; and only Amazon knows its newer checksums.
        config = Config(
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            retries={"total_max_attempts": 1},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "auto" if settings.endpoint is None else "path"},
        )
        self._faults = (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError)
        create: Callable[..., Any] = boto3.client
        try:
            self._client = create(
                "s3",
                endpoint_url=settings.endpoint,
                region_name=settings.region,
                aws_access_key_id=None if key_id is None else key_id.get_secret_value(),
                aws_secret_access_key=None if secret is None else secret.get_secret_value(),
                config=config,
            )
        except (botocore.exceptions.BotoCoreError, ValueError) as error:
            raise StoreError(f"The store of recording.upload cannot be used: {error}") from error

    def bring(self, path: Path) -> Stored:
        """See `Store`."""
        bucket, key = self._settings.bucket, self._settings.prefix + path.name
        digest, size = _digest(path)
        try:
            with path.open("rb") as body:
                self._client.put_object(
                    Bucket=bucket,
                    Key=key,
                    Body=body,
                    ContentLength=size,
                    # RFC 1864: the store refuses what does not arrive as it was sent.
                    ContentMD5=base64.b64encode(digest).decode(),
                )
            head = self._client.head_object(Bucket=bucket, Key=key)
        except self._faults as error:
            raise StoreError(f"{bucket}/{key}: {error}") from error
        except (LookupError, TypeError, ValueError) as error:
            # botocore reads numbers and dates of an answer without a net: a proxy's page is no reason to give up.
            raise StoreError(f"{bucket}/{key}: the store's answer cannot be read: {error}") from error
        etag, stored = str(head.get("ETag", "")).strip('"'), head.get("ContentLength")
        if stored != size:
            raise StoreError(f"{bucket}/{key}: the store has {'no' if stored is None else stored} octets of {size}")
        if etag != digest.hex() and head.get("ServerSideEncryption") not in _OWN_CHECKSUMS:
            raise StoreError(f"{bucket}/{key}: the store's checksum is {etag}, not {digest.hex()}")
        return Stored(f"s3://{bucket}/{key}", size, etag)


def _digest(path: Path) -> tuple[bytes, int]:
    """The MD5 that S3 compares, which is no secret of anything, and the size."""
    digest, size = hashlib.md5(usedforsecurity=False), 0
    with path.open("rb") as file:
        while piece := file.read(_READ_OCTETS):
            digest.update(piece)
            size += len(piece)
    return digest.digest(), size
