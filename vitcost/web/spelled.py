"""A question as it is asked elsewhere: a command, a call in Python, a budget."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from vitcost.config.scenario import Scenario
from vitcost.costs.quantities import QUANTITIES
from vitcost.costs.report_types import Report

__all__ = ["as_budget", "as_command", "as_python"]

_PLAIN = Scenario()


def _asked(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that change the answer: the mode, flags of the scenario that differ from their
    defaults, and every field of the model."""
    return {
        name: value
        for name, value in flags.items()
        if name == "mode" or value != getattr(_PLAIN, name, None)
    }


def as_command(model: str, flags: Mapping[str, Any]) -> str:
    """The command line that answers it.

    >>> as_command("gpt2", {"batch": 8, "mode": "train", "zero": 0, "gpu": "mine,memory_gb=8"})
    'vitcost report gpt2 --batch 8 --mode train --gpu mine,memory_gb=8'
    """
    words = ["vitcost", "report", model]
    for name, value in _asked(flags).items():
        said = "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
        words += [f"--{name.replace('_', '-')}", said]
    return shlex.join(words)


def as_python(model: str, flags: Mapping[str, Any]) -> str:
    """The call that answers it.

    >>> print(as_python("gpt2", {"batch": 8}))
    import vitcost
    <BLANKLINE>
    report = vitcost.report("gpt2", batch=8)
    """
    values = {
        name: json.dumps(value) if isinstance(value, str) else repr(value)
        for name, value in _asked(flags).items()
    }
    given = "".join(f", {name}={value}" for name, value in values.items())
    return f"import vitcost\n\nreport = vitcost.report({json.dumps(model)}{given})"


def as_budget(model: str, flags: Mapping[str, Any], report: Report) -> str:
    """A budget in TOML that today's numbers meet and no larger ones."""
    mode = report.scenario.mode
    data = report.to_dict()
    limits = ["params", "train_memory" if mode == "train" else "inference_memory"]
    lines = ["[[tool.vitcost.budget]]", f"model = {json.dumps(model)}"]
    for name, value in _asked(flags).items():
        if name != "gpu":
            said = list(value) if isinstance(value, tuple) else value
            lines.append(f"{name} = {json.dumps(said)}")
    for name in limits:
        value = QUANTITIES[name].read(data)
        if value is not None:
            lines.append(f'{name} = "{value} B"' if name != "params" else f"{name} = {value}")
    return "\n".join(lines)
