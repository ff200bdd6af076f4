"""Say in a sentence why an expression has no result, without repeating what the input says."""

import re

# the function exists: compiling has checked its name
_NO_OVERLOAD = re.compile(r"Undefined variable or function: '(\w+)'")


def explained(error: BaseException, source: str) -> str:
    """Return the sentence for an error of the engine."""
    shown = source if len(source) <= 80 else source[:77] + "…"
    match error:
        case KeyError():
            name = error.args[0]
            if str(name) not in source:  # a name that the input gave may be personal data
                return f"{shown!r} reads a field whose name comes from the input, and which it does not have."
            in_brackets = f'["{name}"]' in source or f"['{name}']" in source  # has(...) does not accept those
            guard = f'"{name}" in …' if in_brackets else "has(...)"
            return (
                f"{shown!r} reads the field {name!r}, which the input does not have; "
                f"guard it with {guard} or make the field required in the schema."
            )
        case ZeroDivisionError():
            return f"{shown!r} divides by zero."
        case OverflowError():
            return f"{shown!r} exceeds the range of 64-bit integers; use double(...)."
        case IndexError():
            return f"{shown!r} reads past the end of a list."
        case TypeError():
            return (
                f"{shown!r} combines types that do not match, or reads a field of null, of a text or of a list; "
                "convert with int(), double() or string(), guard null with != null, read a list's first item with [0]."
            )
        case _:
            return f"{shown!r} failed: {_said(str(error))}."


def _said(message: str) -> str:
    first_line = (message.splitlines() or [""])[0].split(". Check ")[0]
    if name := _NO_OVERLOAD.match(first_line):
        return f"{name.group(1)}() does not accept a value of this type; guard null with != null, convert other types"
    if first_line.startswith("Function 'duration' error"):  # it repeats the value
        return 'duration() accepts texts like "1h30m"'
    if first_line.startswith("Failed to convert variable"):
        return "the input contains a number beyond 1e308, which CEL cannot represent; send it as a string"
    return first_line.rpartition("Python function call failed: ")[2].split("Error: ")[-1][:200]
