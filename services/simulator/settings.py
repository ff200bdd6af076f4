"""The simulator's settings: ports, limits, and the duration of its scripted faults."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from libs.settings import ServiceSettings, load
from libs.suite import SuiteSettings


class SimulatorSettings(ServiceSettings):
    """Defaults are for a laptop: loopback, ports chosen by the system, any credentials accepted."""

    SECTION: ClassVar[str] = "simulator"

    host: str = Field("127.0.0.1", description="Address that all its sockets listen on.")
    public_host: str = Field(
        "", description="Name by which the services reach it if that is not its host, as in a container."
    )
    fcm_port: int = Field(0, ge=0, le=65535, description="Port of FCM HTTP v1 over TLS; 0 lets the system choose.")
    http_port: int = Field(
        0, ge=0, le=65535, description="Port of SMS, webhooks and control over plain HTTP; 0 lets the system choose."
    )
    smtp_port: int = Field(0, ge=0, le=65535, description="Port of the mail server; 0 lets the system choose.")
    kept_messages: int = Field(10_000, ge=1, description="Maximum messages stored for viewing; the newest stay.")
    kept_bytes: int = Field(64_000_000, ge=1, description="Maximum total size of those messages, in bytes.")
    retry_after_seconds: int = Field(
        1, ge=0, description="Value of Retry-After in its answers 429 and 503, in seconds."
    )
    hang_seconds: float = Field(120.0, gt=0, description="How long a call that times out is left open, in seconds.")
    slow_seconds: float = Field(
        0.5, ge=0, description="Delay of the answer for addresses with the fault slow, in seconds."
    )
    late_seconds: float = Field(3.0, ge=0, description="Delay of late receipts, in seconds.")
    receipt_seconds: float = Field(0.2, ge=0, description="Delay of ordinary receipts and bounce mails, in seconds.")
    delivered_share: float = Field(
        0.0, ge=0, le=1, description="Share of the accepted pushes and mails that get a delivered receipt, 0 to 1."
    )
    opened_share: float = Field(
        0.0, ge=0, le=1, description="Share of the delivered ones that get an opened receipt as well, 0 to 1."
    )
    listed_seconds: float = Field(
        1.0, ge=0, description="Seconds until the SMS API lists an accepted message: as at Twilio, not at once."
    )
    callback_url: str = Field(
        "", description="URL for its own receipts; empty: delivery's callbacks/simulator of the suite."
    )
    receipt_key: SecretStr = Field(
        SecretStr(""), description="Key (hex) of its receipts' signature; empty: derived from the data folder's secret."
    )
    bounce_host: str = Field("127.0.0.1", description="Host to which bounce mails are sent over SMTP.")
    bounce_port: int | None = Field(
        None, ge=0, le=65535, description="Port to which bounce mails are sent; default: bounce's smtp_port; 0: none."
    )
    smtp_username: str = Field("", description="User name required by the mail server; empty: no authentication.")
    smtp_password: SecretStr = Field(SecretStr(""), description="Password of that user.")
    smtp_pipelining: bool = Field(True, description="Whether the mail server offers PIPELINING.")
    smtp_chunking: bool = Field(True, description="Whether the mail server offers CHUNKING: BDAT instead of DATA.")
    smtp_starttls: bool = Field(True, description="Whether the mail server offers STARTTLS.")
    smtp_utf8: bool = Field(True, description="Whether the mail server offers SMTPUTF8.")
    smtp_mail_bytes: int = Field(26_214_400, ge=1024, description="Maximum size of a mail, in bytes.")
    sms_token: SecretStr = Field(
        SecretStr(""), description="Auth token required by the SMS API; empty: any, and callbacks are signed with it."
    )
    fcm_strict_tokens: bool = Field(
        False, description="Whether FCM accepts only bearer tokens that its own token endpoint has issued."
    )
    webhook_secrets: tuple[SecretStr, ...] = Field(
        (),
        description="Secrets (whsec_…), one of which must have signed a webhook; empty: signatures are not checked.",
    )


class BounceListener(ServiceSettings):
    """The one setting of bounce that the simulator needs."""

    SECTION: ClassVar[str] = "bounce"
    model_config = SettingsConfigDict(extra="ignore")

    smtp_port: int = Field(8725, description="As in the settings of bounce.")


def load_simulator(file: Path | None) -> SimulatorSettings:
    """Load the settings; its receipts and bounces go to the suite of the same environment and file by default."""
    settings = load(SimulatorSettings, file)
    found: dict[str, str | int] = {}
    if not settings.callback_url:
        suite = load(SuiteSettings, file)
        found["callback_url"] = f"http://{suite.host}:{suite.port}/delivery/v1/callbacks/simulator"
    if settings.bounce_port is None:
        found["bounce_port"] = load(BounceListener, file).smtp_port
    return settings.model_copy(update=found)
