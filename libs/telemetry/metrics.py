"""Metrics of all processes in one response.

The processes of `depesche up` share a folder: each writes its own files, and the process that gets the request adds
them up. Gauges name their aggregation (`multiprocess_mode`), because most are reported alike by every process.
"""

import os
import shutil
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest, multiprocess

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client reads it when imported


def make_folder(data_dir: Path) -> Path:
    """Create an empty folder for this run's metrics: counters begin at zero with the suite."""
    folder = data_dir / "metrics"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def forget_process(folder: Path, pid: int) -> None:
    """Handle the end of a process: its counters stay, its live gauges go."""
    multiprocess.mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]


def exposition() -> bytes:
    """Return Prometheus' text format: of all processes that share the folder, else of this one."""
    if not os.environ.get(FOLDER_VARIABLE):
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
