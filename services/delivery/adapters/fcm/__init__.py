"""Push by Firebase Cloud Messaging, HTTP v1 over HTTP/2: our own sender."""

from services.delivery.adapters.fcm.provider import FcmProvider

__all__ = ["FcmProvider"]
