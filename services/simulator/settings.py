"""The simulator's settings: ports, limits, and how long its scripted faults last."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field, SecretStr

from libs.settings import ServiceSettings, load
from libs.suite import SuiteSettings


class SimulatorSettings(ServiceSettings):
    """Defaults are for a laptop: loopback, ports chosen by the system, any credentials accepted."""

    SECTION: ClassVar[str] = "simulator"

    host: str = Field("127.0.0.1", description="Address that all its sockets listen on.")
    public_host: str = Field(
        "", description="Name by which the services reach it where that is not its host, as in a container."
    )
    fcm_port: int = Field(0, ge=0, le=65535, description="Port of FCM HTTP v1 over TLS; 0 lets the system choose.")
    http_port: int = Field(
        0, ge=0, le=65535, description="Port of SMS, webhooks and control over plain HTTP; 0 lets the system choose."
    )
    smtp_port: int = Field(0, ge=0, le=65535, description="Port of the mail server; 0 lets the system choose.")
    kept_messages: int = Field(10_000, ge=1, description="How many of the newest messages it keeps to be looked at.")
    kept_bytes: int = Field(64_000_000, ge=1, description="Upper bound of those messages together, in bytes.")
    retry_after_seconds: int = Field(
        1, ge=0, description="What its answers 429 and 503 say in Retry-After, in seconds."
    )
    hang_seconds: float = Field(120.0, gt=0, description="How long a call that times out is left open, in seconds.")
    slow_seconds: float = Field(
        0.5, ge=0, description="Delay of the answer for addresses with the fault slow, in seconds."
    )
    late_seconds: float = Field(3.0, ge=0, description="Delay of late receipts, in seconds.")
    receipt_seconds: float = Field(0.2, ge=0, description="Delay of ordinary receipts and bounce mails, in seconds.")
    delivered_share: float = Field(
        0.0, ge=0, le=1, description="Share of the accepted pushes and mails that get a receipt delivered, 0 to 1."
    )
    opened_share: float = Field(
        0.0, ge=0, le=1, description="Share of the delivered ones that get a receipt opened as well, 0 to 1."
    )
    listed_seconds: float = Field(
        1.0, ge=0, description="Seconds until the SMS API lists a message that it took: as at Twilio, not at once."
    )
    callback_url: str = Field(
        "", description="Where its own receipts go; empty: delivery's callbacks/simulator of the suite."
    )
    receipt_key: SecretStr = Field(
        SecretStr(""), description="Key (hex) of its receipts' signature; empty: derived from the data folder's secret."
    )
    bounce_host: str = Field("127.0.0.1", description="Host that bounce mails are sent to over SMTP.")
    bounce_port: int = Field(
        8725, ge=0, le=65535, description="Port that bounce mails are sent to, where bounce listens; 0 sends none."
    )
    smtp_username: str = Field("", description="User that the mail server asks for; empty: no authentication needed.")
    smtp_password: SecretStr = Field(SecretStr(""), description="Password of that user.")
    smtp_pipelining: bool = Field(True, description="Whether the mail server offers PIPELINING.")
    smtp_chunking: bool = Field(True, description="Whether the mail server offers CHUNKING: BDAT in place of DATA.")
    smtp_starttls: bool = Field(True, description="Whether the mail server offers STARTTLS.")
    smtp_utf8: bool = Field(True, description="Whether the mail server offers SMTPUTF8.")
    smtp_mail_bytes: int = Field(26_214_400, ge=1024, description="Largest mail that it takes, in bytes.")
    sms_token: SecretStr = Field(
        SecretStr(""), description="Auth token that the SMS API asks for; empty: any, and callbacks are signed with it."
    )
    fcm_strict_tokens: bool = Field(
        False, description="Whether FCM takes only bearer tokens that its own token endpoint has issued."
    )
    webhook_secrets: tuple[SecretStr, ...] = Field(
        (),
        description="Secrets (whsec_…) of which one must have signed a webhook; empty: the signature is not checked.",
    )


def load_simulator(file: Path | None) -> SimulatorSettings:
    """The settings; its receipts go to the suite of the same environment and file where nothing else is said."""
    settings = load(SimulatorSettings, file)
    if settings.callback_url:
        return settings
    suite = load(SuiteSettings, file)
    callback = f"http://{suite.host}:{suite.port}/delivery/v1/callbacks/simulator"
    return settings.model_copy(update={"callback_url": callback})
