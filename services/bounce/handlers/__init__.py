"""From a mail, a refusal or a receipt to a fact, and from a fact to a suppression."""

from libs.contracts.bounce import BounceClassified, SuppressionChanged
from libs.contracts.delivery import MessageRecorded, MessageRejected, ReceiptRecorded
from libs.contracts.tokens import RecipientErased
from libs.messaging.bus import Subscriptions
from services.bounce.handlers.contacts import note_acceptances
from services.bounce.handlers.deps import Bounce
from services.bounce.handlers.refusals import forget_recipients, record_receipts, record_rejections
from services.bounce.handlers.telling import tell_webhooks

__all__ = ["SUBSCRIPTIONS", "Bounce"]

SUBSCRIPTIONS: Subscriptions = {
    BounceClassified: tell_webhooks,
    SuppressionChanged: tell_webhooks,
    MessageRecorded: note_acceptances,
    MessageRejected: record_rejections,
    ReceiptRecorded: record_receipts,
    RecipientErased: forget_recipients,
}
