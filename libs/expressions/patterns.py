"""How large a regular expression is for the engine, which runs it as an automaton."""

import re

_COUNTED = re.compile(r"\{(\d{1,5})(?:,(\d{0,5}))?\}")
_SET = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)


def states(pattern: str) -> int:
    """Count a regular expression's states, with its counted repetitions written out: `(a{3}b){2}` has 8."""
    groups, last, at = [0], 0, 0
    while at < len(pattern):
        sign = pattern[at]
        if counted := _COUNTED.match(pattern, at):
            times = int(counted.group(2) or counted.group(1))
            groups[-1] += last * (times - 1)
            last, at = last * times, counted.end()
        elif sign == "(":
            groups.append(0)
            at += 1
        elif sign == ")" and len(groups) > 1:
            last = groups.pop()
            groups[-1] += last
            at += 1
        else:
            set_ = _SET.match(pattern, at)
            at = set_.end() if set_ else at + (2 if sign == "\\" else 1)
            last = 1
            groups[-1] += 1
    return max(0, sum(groups))
