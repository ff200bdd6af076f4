"""Metrics of all processes in one answer.

The processes of `depesche up` share a folder: each writes its own files there, and whoever is asked adds them up.
Gauges name the way in which they are added up (`multiprocess_mode`), since most are seen alike by every process.
"""

import os
import shutil
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest, multiprocess

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # read by prometheus_client when it is imported


def make_folder(data_dir: Path) -> Path:
    """An empty folder for this run's metrics: counters begin at zero with the suite."""
    folder = data_dir / "metrics"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def forget_process(folder: Path, pid: int) -> None:
    """A process has ended: what it counted stays, what only a living one can say goes."""
    multiprocess.mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]


def exposition() -> bytes:
    """Prometheus' text format: of all processes that share the folder, else of this one."""
    if not os.environ.get(FOLDER_VARIABLE):
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
