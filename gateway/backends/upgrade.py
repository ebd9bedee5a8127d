"""What a server says instead of 101 Switching Protocols."""

from typing import Final

from websockets.http11 import Response

from gateway.realtime.errors import (
    ModelError,
    ModelForbiddenError,
    ModelNotFoundError,
    ModelRateLimitError,
    ModelUnauthorisedError,
    ModelUpgradeError,
)

# An answer to the upgrade that explains itself: this much of its body is quoted in the error.
QUOTED_BODY_CHARACTERS: Final = 300

_UPGRADE_ERRORS: Final[dict[int, type[ModelError]]] = {
    401: ModelUnauthorisedError,
    403: ModelForbiddenError,
    404: ModelNotFoundError,
    429: ModelRateLimitError,
}


def upgrade_error(response: Response) -> ModelError:
    """The error for an answer, with the words in which the server explains itself."""
    status = response.status_code
    body = bytes(response.body or b"").decode("utf-8", "replace")[:QUOTED_BODY_CHARACTERS]
    detail = f": {body}" if body else ""
    message = f"the upgrade was answered {status} {response.reason_phrase}{detail}"
    return _UPGRADE_ERRORS.get(status, ModelUpgradeError)(message)
