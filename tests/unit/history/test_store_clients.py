"""An installation with history in Postgres does not load the other stores' clients."""

import subprocess
import sys


def test_other_stores_clients_are_loaded_only_where_used() -> None:
    said = "import sys, services.history.app; print(sorted({'pymongo', 'opensearchpy', 'aiohttp'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
