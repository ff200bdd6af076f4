"""The limits of a render, and the errors that say which one was exceeded."""

from liquid.exceptions import LiquidError

from libs.contracts.reasons import Reason
from libs.errors import Invalid

MAX_SOURCE = 262_144  # characters of one part: shops' order confirmations with inlined styles have 135,000
MAX_SHORT_SOURCE = 16_384  # characters of a part that becomes one line or one SMS
MAX_LOCALS = 262_144  # bytes in assign and capture
MAX_VALUE = 131_072  # characters that one filter may return
MAX_ITEMS = 10_000  # of a list or range
MAX_DIGITS = 60  # of a number in arithmetic
MAX_BLOCKS = 20  # nested blocks

MAX_PUSH_BYTES = 4_096  # FCM and APNs: notification and data together
MAX_EMAIL_BYTES = 524_288
MAX_WEBHOOK_BYTES = 262_144
MAX_SMS_SEGMENTS = 10
MAX_HEADER = 998  # characters; RFC 5322's longest line


# what Liquid and Python raise for unsuitable values; a bug of ours would not be among them
VALUE_ERRORS = (LiquidError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class RenderFailed(Invalid):
    """A text cannot be rendered from these variables; `reason` becomes the message row's reason."""

    slug = "render-failed"
    title = "The text cannot be rendered"
    reason = Reason.RENDER_FAILED


class LimitExceeded(RenderFailed):
    """A template exceeds a limit of loops, output or values, whatever the variables."""

    slug = "render-limit"
    title = "The template exceeds a limit"


class ContentTooLarge(LimitExceeded):
    """The rendered content is too large for the channel."""

    slug = "content-too-large"
    title = "The content is too large for its channel"
    reason = Reason.TOO_LARGE
