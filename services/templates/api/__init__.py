"""HTTP in: drafts, versions, preview, and the batch that publishing a communication requests."""

from services.templates.api.drafts import router as drafts
from services.templates.api.previews import router as previews
from services.templates.api.versions import router as versions

ROUTERS = (previews, versions, drafts)
