"""The story of tokens: its commands, and its event handlers."""

from collections.abc import Mapping

from libs.contracts.bounce import BounceClassified
from libs.contracts.delivery import MessageRejected, ReplyReceived
from libs.contracts.envelope import Event
from libs.messaging.bus import Handler
from services.tokens.handlers.events import obey_replies, obey_unsubscribes, retire_dead_devices

SUBSCRIPTIONS: Mapping[type[Event], Handler] = {
    MessageRejected: retire_dead_devices,
    ReplyReceived: obey_replies,
    BounceClassified: obey_unsubscribes,
}
