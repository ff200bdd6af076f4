"""Writes `opensearch/`: python -m tools.opensearch"""

import json
from pathlib import Path
from typing import Any

from services.history.adapters.opensearch import schema
from services.history.settings import HistorySettings
from tools.opensearch.saved_objects import saved_objects

FOLDER = Path(__file__).parents[2] / "opensearch"
PREFIX: str = HistorySettings.model_fields["opensearch_prefix"].default


def files() -> dict[str, str]:
    """Return the generated contents by file name."""
    made = {f"index-template.{name}.json": _readable(body) for name, body in schema.templates(PREFIX).items()}
    lines = [json.dumps(one, sort_keys=True, separators=(",", ":")) for one in saved_objects(PREFIX, schema.MAPPING)]
    return made | {"dashboards.ndjson": "\n".join(lines) + "\n"}


def _readable(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True) + "\n"


def main() -> None:
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
