"""`python -m services.simulator --data DIR`: listens until SIGTERM or SIGINT."""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from libs.errors import Invalid
from libs.suite import settings_file
from services.simulator.app import start
from services.simulator.settings import SimulatorSettings, load_simulator


async def serve(data: Path, settings: SimulatorSettings) -> None:
    """Run until a signal."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    simulator = await start(data, settings)
    endpoints = simulator.endpoints
    sys.stdout.write(
        f"simulator: fcm {endpoints.fcm_url}, smtp {endpoints.smtp_host}:{endpoints.smtp_port}, "
        f"control {endpoints.control_url}\n"
    )
    sys.stdout.flush()
    await stop.wait()
    await simulator.stop()


def main() -> int:
    """Run the command line; options override the environment and the file."""
    parser = argparse.ArgumentParser(prog="python -m services.simulator", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder for its certificate and endpoints file")
    parser.add_argument("--settings", type=Path, default=None, help="depesche.toml with a section [simulator]")
    for name in ("fcm-port", "http-port", "smtp-port", "bounce-port"):
        parser.add_argument(f"--{name}", type=int, default=None, help="port; default by settings")
    parser.add_argument("--callback-url", default=None, help="URL for its receipts")
    options = parser.parse_args()
    options.settings = options.settings or settings_file(options.data)
    given = {
        name: value
        for name, value in vars(options).items()
        if value is not None and name in SimulatorSettings.model_fields
    }
    try:
        settings = load_simulator(options.settings).model_copy(update=given)
        options.data.mkdir(parents=True, exist_ok=True)
        try:
            import uvloop

            uvloop.run(serve(options.data, settings))
        except ImportError:  # Windows has no uvloop
            asyncio.run(serve(options.data, settings))
    except Invalid as error:
        sys.stderr.write(f"simulator: {error.detail}\n" + "".join(f"  {e.pointer}: {e.detail}\n" for e in error.errors))
        return 2
    except OSError as error:
        sys.stderr.write(f"simulator: cannot listen or write: {error}. Choose another port, or leave it 0.\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
