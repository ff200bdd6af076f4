"""CEL for what users write: conditions, recipients, a source's mappings.

gold = compile_expression("event.data.total > 50", variables={"event"}, pointer="/condition")
needs = needed([gold])                        # once
context = Context({"event": event}, needs)    # once per event
gold.evaluate(context)
"""

from libs.expressions.compiled import (
    Context,
    EvaluationFailed,
    Expression,
    Needs,
    compile_expression,
    needed,
)

__all__ = ["Context", "EvaluationFailed", "Expression", "Needs", "compile_expression", "needed"]
