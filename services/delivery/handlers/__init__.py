"""The story of delivery's bus: which events it consumes, and which function handles each."""

from libs.contracts.bounce import SuppressionChanged
from libs.contracts.delivery import NotificationRequested
from libs.contracts.orders_notification import ReleasePublished
from libs.contracts.tokens import RecipientErased
from libs.messaging.bus import Subscriptions
from services.delivery.handlers.delivery import Delivery
from services.delivery.handlers.projecting import erase_recipients, project_releases, project_suppressions
from services.delivery.handlers.requests import store_requests

__all__ = ["SUBSCRIPTIONS", "Delivery"]

SUBSCRIPTIONS: Subscriptions = {
    NotificationRequested: store_requests,
    ReleasePublished: project_releases,
    SuppressionChanged: project_suppressions,
    RecipientErased: erase_recipients,
}
