"""Push by Firebase Cloud Messaging, HTTP v1 over HTTP/2: a sender of our own."""

from services.delivery.adapters.fcm.provider import FcmProvider

__all__ = ["FcmProvider"]
