"""The mail vendors, a file each: the header that brings our return path back, and the reader of its webhooks."""

from collections.abc import Callable, Mapping

from services.delivery.adapters.vendors import ses
from services.delivery.adapters.vendors.fetching import Fetching
from services.delivery.adapters.vendors.ses import SesWebhooks
from services.delivery.adapters.vendors.sns import Fetch
from services.delivery.domain.mail_vendors import Vendor
from services.delivery.ports import VendorWebhooks

__all__ = ["HEADERS", "Fetching", "readers"]

# A header line that makes the vendor give our signed return path back with each of its events, "" where none is needed.
HEADERS: Mapping[Vendor, Callable[[str], str]] = {
    Vendor.SES: ses.header,
}


def readers(fetch: Fetch) -> Mapping[Vendor, VendorWebhooks]:
    """The reader of each vendor's webhooks; `fetch` gets Amazon's certificates."""
    return {
        Vendor.SES: SesWebhooks(fetch),
    }
