"""Mail: our own dialogue with the relay. connection → opening → by_chunks or by_data → provider; mime beside them."""

from services.delivery.adapters.smtp.provider import SmtpProvider

__all__ = ["SmtpProvider"]
