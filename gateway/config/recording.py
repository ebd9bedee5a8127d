"""The recording section: whether calls are recorded, into what, and what becomes of the files."""

import enum
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from gateway.config.value import InputPath, OutputPath, Settings
from gateway.recording_seal import RecordingKey, SealError

# What S3 takes in the name of a bucket, and the servers that speak like it.
_BUCKET = r"^[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]$"
# Slashes make folders; what would need escapes in a URL, or lead upwards, is left out.
_PREFIX = r"^[A-Za-z0-9!\-_.*'()/]{0,512}$"


def parse_store_url(value: str) -> str:
    """The URL of a server: http:// or https://, a host, and neither user information nor a path."""
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 raises for a port that is none
    except ValueError:
        raise ValueError("is not a URL with a host and a port") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ValueError(f"{value!r} is not the URL of a server such as https://s3.example.com")
    if "@" in parts.netloc:
        raise ValueError("must not hold a user name or password")
    return value


StoreUrl = Annotated[str, AfterValidator(parse_store_url), Field(pattern="^https?://")]


class Layout(enum.StrEnum):
    """How the two sides of a call stand in its recording."""

    STEREO = "stereo"
    MIXED = "mixed"


class EncryptionSettings(Settings):
    """The key of sealed recordings: 32 random octets, as `trunkline recording key` prints them. Either way of naming it
    will do. Without it nobody can play what is recorded, you included.
    """

    key: SecretStr | None = None
    """The key itself. Write it as ${NAME}, never in the file."""
    key_file: InputPath | None = None
    """A file that holds it; relative to this file."""

    @field_validator("key")
    @classmethod
    def _can_be_used(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            try:
                RecordingKey.parse(value.get_secret_value())
            except SealError as error:
                raise ValueError(str(error)) from None
        return value

    @model_validator(mode="after")
    def _one_of_both(self) -> "EncryptionSettings":
        if (self.key is None) == (self.key_file is None):
            raise ValueError("needs a key or a key_file, and not both")
        return self

    def load(self) -> RecordingKey:
        """The key. Raises SealError."""
        if self.key_file is not None:
            return RecordingKey.load(self.key_file)
        return RecordingKey.parse("" if self.key is None else self.key.get_secret_value())


class UploadSettings(Settings):
    """Where finished recordings are brought to: a store that speaks S3. It needs the extra `s3`."""

    bucket: Annotated[str, Field(pattern=_BUCKET)]
    """The bucket; it must exist."""
    prefix: Annotated[str, Field(pattern=_PREFIX)] = ""
    """What stands before each file's name in its key, such as `calls/`."""
    endpoint: StoreUrl | None = None
    """The store's URL. When absent, Amazon's in the region."""
    region: str = "us-east-1"
    """The store's region."""
    access_key_id: SecretStr | None = None
    """With `secret_access_key`: whom the store knows. Write both as ${NAME}. When absent, what the AWS tools would use:
    their environment variables and files, or the machine's role."""
    secret_access_key: SecretStr | None = None
    """See `access_key_id`."""
    keep_local: bool = False
    """Whether the file stays here after the store has been asked for it and has named its size and checksum."""

    @model_validator(mode="after")
    def _both_or_none(self) -> "UploadSettings":
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("needs access_key_id and secret_access_key, or neither")
        return self


class RecordingSettings(Settings):
    """Recordings of calls. Many countries ask for the consent of both sides."""

    enabled: bool = False
    """Whether calls are recorded."""
    directory: OutputPath = Path("recordings")
    """Folder for the recordings, one file a call; relative to the working directory."""
    format: Literal["wav", "ogg"] = "wav"
    """`wav`: 16 bits a sample, 115 MB an hour in stereo at a telephone's 8 kHz. `ogg`: Opus, 14 MB an hour at most."""
    layout: Layout = Layout.STEREO
    """`stereo`: caller left, agent right. `mixed`: both in one channel, half the size."""
    encryption: EncryptionSettings | None = None
    """Encrypts the files with AES-256-GCM; `trunkline recording decrypt` reads them."""
    upload: UploadSettings | None = None
    """Brings finished recordings to a store that speaks S3. What cannot be brought waits in the folder and is tried
    again, after a restart too."""
