"""The audit in OpenSearch."""

from services.history.adapters.opensearch.audit import OpenSearchAudit

__all__ = ["OpenSearchAudit"]
