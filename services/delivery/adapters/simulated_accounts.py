"""Senders directed to the simulator: test traffic goes nowhere else, whatever is configured."""

from libs.contracts.outcomes import Channel
from libs.service import SimulatorEndpoints
from services.delivery.domain.outbound import Account, FcmAccount, SmtpAccount, TwilioAccount, WebhookAccount

_SECRET = "whsec_c2ltdWxhdG9yLXNpbXVsYXRvci1zaW11bGF0b3I="


def simulated(channel: Channel, simulator: SimulatorEndpoints, account: Account | None, callback: str) -> Account:
    """Return the same sender, directed to the simulator; without an account, a made-up one.

    It keeps what the customer would see (From, originator), and none of the credentials."""
    match channel:
        case Channel.PUSH:
            project = account.project if isinstance(account, FcmAccount) else "simulator"
            return FcmAccount(project, None, "simulator", simulator.fcm_url, simulator.fcm_ca)
        case Channel.EMAIL:
            mail = account if isinstance(account, SmtpAccount) else None
            return SmtpAccount(
                simulator.smtp_host,
                simulator.smtp_port,
                mail.from_address if mail else "shop@simulator.example",
                mail.from_name if mail else None,
                mail.return_path_domain if mail else "bounces.simulator.example",
                tls="off",
            )
        case Channel.SMS:
            originator = account.originator if isinstance(account, TwilioAccount) else "+4915100000000"
            return TwilioAccount("ACsimulator", "simulator", originator, callback, simulator.sms_url)
        case Channel.WEBHOOK:
            secrets = account.secrets if isinstance(account, WebhookAccount) else (_SECRET,)
            return WebhookAccount(secrets, allow_private=True)
