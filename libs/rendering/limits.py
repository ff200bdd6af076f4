"""The limits of a render and the errors that say which was met."""

from liquid.exceptions import LiquidError

from libs.contracts.reasons import Reason
from libs.errors import Invalid

MAX_SOURCE = 131_072  # characters of one part
MAX_SHORT_SOURCE = 16_384  # characters of a part that ends as one line or one SMS
MAX_ITERATIONS = 10_000  # of all loops of one part together
MAX_LOCALS = 262_144  # bytes in assign and capture
MAX_VALUE = 131_072  # characters that one filter may give
MAX_ITEMS = 10_000  # of a list or range
MAX_DIGITS = 60  # of a number that is calculated with
MAX_BLOCKS = 20  # nested blocks

MAX_PUSH_BYTES = 4_096  # FCM and APNs: notification and data together
MAX_EMAIL_BYTES = 524_288
MAX_WEBHOOK_BYTES = 262_144
MAX_SMS_SEGMENTS = 10
MAX_HEADER = 998  # characters; RFC 5322's longest line


# what Liquid and Python raise for values that do not fit; a bug of ours would not be among them
VALUE_ERRORS = (LiquidError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class RenderFailed(Invalid):
    """A text cannot be made from these variables; `reason` is what the message row will say."""

    slug = "render-failed"
    title = "The text cannot be rendered"
    reason = Reason.RENDER_FAILED


class LimitExceeded(RenderFailed):
    """A template works too hard: loops, output or values beyond bounds, whatever the variables."""

    slug = "render-limit"
    title = "The template exceeds a limit"


class ContentTooLarge(LimitExceeded):
    """The rendered content is larger than the channel takes."""

    slug = "content-too-large"
    title = "The content is too large for its channel"
    reason = Reason.TOO_LARGE
