"""`python -m libs.ask_probe live|ready`: asks this container's own process how it is; 0 means well, 1 not.

For a container engine without probes of its own (the image has no curl). The standard library alone, since it runs
every few seconds; the port is DEPESCHE_PORT, as the process itself reads it.
"""

import http.client
import os
import sys

_SECONDS = 3.0


def ask(probe: str, port: int, seconds: float = _SECONDS) -> str:
    """What is wrong; empty where the process says that it is well."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("GET", f"/health/{probe}")
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return f"no answer: {type(error).__name__}"
    finally:
        connection.close()
    return "" if answer.status == 200 else f"{answer.status} {body}"


def main(arguments: list[str]) -> str | None:
    """The process's exit: None for well, else the sentence that goes to standard error beside status 1."""
    if arguments not in (["live"], ["ready"]):
        return __doc__
    return ask(arguments[0], int(os.environ.get("DEPESCHE_PORT") or 8700)) or None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
