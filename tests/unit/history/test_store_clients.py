"""Whoever keeps history in Postgres does not pay for other stores' clients."""

import subprocess
import sys


def test_the_other_stores_clients_are_loaded_only_where_they_are_used() -> None:
    said = "import sys, services.history.app; print(sorted({'pymongo', 'opensearchpy', 'aiohttp'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
