"""``python -m vitcost.planner.budgets.at_commit QUESTION``: reports on models in the working
directory.

It runs in a process of its own, in the worktree of a commit, and writes its answer to a file.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitcost.costs.report import report
from vitcost.errors import ConfigError, VitcostError
from vitcost.outside.reading import AT_COMMIT, read_json
from vitcost.planner.budgets.declared import Declared, read_budgets
from vitcost.planner.budgets.git import users_files

__all__ = ["main"]


def main(question: str) -> None:
    """Answers a question: for each model the JSON of its report, or the reason why there is
    none."""
    asked = read_json(question, AT_COMMIT)
    declared = _declared(asked["config"])
    answers: list[dict[str, Any] | str] = []
    for each in asked["asks"]:
        budget = declared.get(each["name"])
        model, keywords = (
            (budget.model, budget.keywords) if budget else (each["model"], each["keywords"])
        )
        try:
            data = report(model, **{"mode": "infer", **keywords}).to_dict()
            _need_own(asked["checkout"])
            answers.append(data)
        except VitcostError as error:
            answers.append(str(error))
    Path(asked["answer"]).write_text(json.dumps({"models": answers}), encoding="utf-8")


def _declared(config: str | None) -> Mapping[str, Declared]:
    """The budgets of the commit by name; empty if its file has none or does not exist."""
    if config is None:
        return {}
    try:
        return {each.name: each for each in read_budgets(config)}
    except VitcostError:
        return {}


def _need_own(checkout: str) -> None:
    """Refuses a report if Python imported code from the checkout and not from the worktree."""
    top = Path(checkout)
    for name, file in users_files():
        if not name.startswith("vitcost") and file.resolve().is_relative_to(top):
            raise ConfigError(
                f"the module {name} is found in the checkout, at {file}, and not in the commit: "
                "it is installed in place"
            )


if __name__ == "__main__":
    from vitcost.outside.users_code import end

    main(sys.argv[1])
    end(0)
