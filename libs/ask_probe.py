"""`python -m libs.ask_probe live|ready`: query the health of this container's process; exit 0 if healthy, 1 if not.

For container engines without HTTP probes (the image has no curl). It uses only the standard library because it runs
every few seconds. The port is DEPESCHE_PORT, as for the process itself.
"""

import http.client
import os
import sys

_SECONDS = 3.0


def ask(probe: str, port: int, seconds: float = _SECONDS) -> str:
    """Return what is wrong, or an empty string if the process is healthy."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("GET", f"/health/{probe}")
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return f"no response: {type(error).__name__}"
    finally:
        connection.close()
    return "" if answer.status == 200 else f"{answer.status} {body}"


def main(arguments: list[str]) -> str | None:
    """Return the exit value: None if healthy, else the sentence for standard error (exit status 1)."""
    if arguments not in (["live"], ["ready"]):
        return __doc__
    return ask(arguments[0], int(os.environ.get("DEPESCHE_PORT") or 8700)) or None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
