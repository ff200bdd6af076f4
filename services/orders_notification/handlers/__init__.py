"""The story of this service: events come in and are decided; communications are published."""

from libs.messaging.bus import Subscriptions
from services.orders_notification.handlers.intake import INTAKE_SUBSCRIPTIONS

SUBSCRIPTIONS: Subscriptions = {**INTAKE_SUBSCRIPTIONS}
