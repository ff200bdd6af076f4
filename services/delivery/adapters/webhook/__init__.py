"""Webhooks to customers' own servers, signed by Standard Webhooks and guarded against internal targets."""

from services.delivery.adapters.webhook.provider import WebhookProvider

__all__ = ["WebhookProvider"]
