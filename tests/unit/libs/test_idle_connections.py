"""Which side closes an idle connection: a request that crosses with the other side's close is lost."""

from typing import Any, ClassVar

import pytest
import uvicorn

from libs import alone, http_connections


async def test_a_service_keeps_idle_connections_longer_than_its_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    class Started(alone._Server):
        configs: ClassVar[list[uvicorn.Config]] = []

        async def serve(self, sockets: Any = None) -> None:
            self.configs.append(self.config)

    monkeypatch.setattr(alone, "_Server", Started)
    await alone.serve_http(lambda: None, "127.0.0.1", 0, drain_seconds=3)  # type: ignore[arg-type]
    (config,) = Started.configs
    callers = {"Go's transport": 90, "nginx": 60, "ours": http_connections._IDLE_SECONDS}
    assert config.timeout_keep_alive > max(callers.values())
