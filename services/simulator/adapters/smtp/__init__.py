"""The mail server."""

from services.simulator.adapters.smtp.server import MailServer

__all__ = ["MailServer"]
