"""The mail vendors, a file each: the header that returns our return path, and the reader of its webhooks."""

from collections.abc import Callable, Mapping

from services.delivery.adapters.vendors import brevo, mailgun, postmark, sendgrid, ses, sparkpost
from services.delivery.adapters.vendors.fetching import Fetching
from services.delivery.adapters.vendors.sns import Fetch
from services.delivery.domain.mail_vendors import Vendor
from services.delivery.ports import VendorWebhooks

__all__ = ["HEADERS", "Fetching", "readers"]

# A header line with the local part of our signed return path, which the vendor returns with each event; "" if it needs
# none.
HEADERS: Mapping[Vendor, Callable[[str], str]] = {
    Vendor.SES: ses.header,
    Vendor.SENDGRID: sendgrid.header,
    Vendor.MAILGUN: mailgun.header,
    Vendor.POSTMARK: postmark.header,
    Vendor.SPARKPOST: sparkpost.header,
    Vendor.BREVO: brevo.header,
}


def readers(fetch: Fetch) -> Mapping[Vendor, VendorWebhooks]:
    """Return the reader of each vendor's webhooks; `fetch` gets Amazon's certificates."""
    return {
        Vendor.SES: ses.SesWebhooks(fetch),
        Vendor.SENDGRID: sendgrid.SendGridWebhooks(),
        Vendor.MAILGUN: mailgun.MailgunWebhooks(),
        Vendor.POSTMARK: postmark.PostmarkWebhooks(),
        Vendor.SPARKPOST: sparkpost.SparkPostWebhooks(),
        Vendor.BREVO: brevo.BrevoWebhooks(),
    }
