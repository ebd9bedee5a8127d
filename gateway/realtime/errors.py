"""Why no session with a model could be had.

ModelError
  ├─ ModelUnresolvedError    the host has no address
  ├─ ModelRefusedError       the connection was refused or broken while opening
  ├─ ModelTimeoutError       connecting, or the model's answer to the settings, took too long
  ├─ ModelTlsError           the certificate or the TLS handshake is bad
  ├─ ModelUnauthorisedError  401: the key is wrong or missing
  ├─ ModelForbiddenError     403: the key may not use this model, or not from here
  ├─ ModelNotFoundError      404: no such model, deployment or path
  ├─ ModelRateLimitError     429: requests or quota are used up
  ├─ ModelUpgradeError       any other answer than 101 to the WebSocket upgrade
  ├─ ModelSettingsError      the session was opened, but its settings were not taken
  └─ ModelSessionLostError   the session ended while it was being opened

All of them refuse a call with 503: the next trunk or node may do better.
"""

from typing import ClassVar

from gateway.errors import GatewayError


class ModelError(GatewayError):
    """No session with the model. `retryable`: the same backend may answer if it is asked again within seconds."""

    sip_status: ClassVar[int] = 503
    label: ClassVar[str] = "model_error"
    retryable: ClassVar[bool] = False


class ModelUnresolvedError(ModelError):
    """The backend's host name has no address."""

    label: ClassVar[str] = "model_name_unresolved"
    retryable: ClassVar[bool] = True


class ModelRefusedError(ModelError):
    """The connection was refused, or broke before the WebSocket was open."""

    label: ClassVar[str] = "model_refused"
    retryable: ClassVar[bool] = True


class ModelTimeoutError(ModelError):
    """The backend did not connect, or did not confirm the session's settings, within the configured time."""

    label: ClassVar[str] = "model_timeout"
    retryable: ClassVar[bool] = True


class ModelTlsError(ModelError):
    """The backend's certificate is not trusted, or the TLS handshake failed."""

    label: ClassVar[str] = "model_tls_failed"


class ModelUnauthorisedError(ModelError):
    """The upgrade was answered 401."""

    label: ClassVar[str] = "model_unauthorised"


class ModelForbiddenError(ModelError):
    """The upgrade was answered 403."""

    label: ClassVar[str] = "model_forbidden"


class ModelNotFoundError(ModelError):
    """The upgrade was answered 404."""

    label: ClassVar[str] = "model_not_found"


class ModelRateLimitError(ModelError):
    """The upgrade was answered 429."""

    label: ClassVar[str] = "model_rate_limited"
    retryable: ClassVar[bool] = True


class ModelUpgradeError(ModelError):
    """The upgrade was answered with something else than 101, or with something that is not HTTP."""

    label: ClassVar[str] = "model_upgrade_failed"
    retryable: ClassVar[bool] = True


class ModelSettingsError(ModelError):
    """The session was opened, but the backend answered its settings with an error."""

    label: ClassVar[str] = "model_rejected_settings"


class ModelSessionLostError(ModelError):
    """The session ended while it was being opened."""

    label: ClassVar[str] = "model_session_lost"
    retryable: ClassVar[bool] = True
