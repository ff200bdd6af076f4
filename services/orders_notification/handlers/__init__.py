"""The story of this service: events are accepted and decided; communications are published."""

from libs.messaging.bus import Subscriptions
from services.orders_notification.handlers.intake import INTAKE_SUBSCRIPTIONS

SUBSCRIPTIONS: Subscriptions = {**INTAKE_SUBSCRIPTIONS}
