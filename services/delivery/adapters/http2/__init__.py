"""An HTTP/2 client for one purpose: very many small calls to one server, at very low cost each."""

from services.delivery.adapters.http2.calls import Call, Failure, Fields, Lost
from services.delivery.adapters.http2.hpack_decoding import Head
from services.delivery.adapters.http2.keeping import Limits
from services.delivery.adapters.http2.opening import Origin
from services.delivery.adapters.http2.pool import Pool

__all__ = ["Call", "Failure", "Fields", "Head", "Limits", "Lost", "Origin", "Pool"]
