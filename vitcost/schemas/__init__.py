"""JSON schemas of every result, generated from the types of ``documents``."""

from typing import Any

from vitcost.errors import UnknownName

__all__ = ["SCHEMAS", "schema"]

# versions, as in a result's own ``schema`` key; "explain" is vitcost.explain/1
SCHEMAS = (
    "report",
    "models",
    "gpus",
    "calibration",
    "throughput",
    "explain",
    "check",
    "compare",
    "fit",
    "plan",
    "serve",
    "budget",
    "baseline",
    "diff",
)


def schema(name: str) -> dict[str, Any]:
    """The schema of a result, in JSON Schema's draft 2020-12.

    Raises ``UnknownName`` for a result that does not exist.

    >>> schema("budget")["properties"]["ok"]
    {'type': 'boolean'}
    """
    if name not in SCHEMAS:
        raise UnknownName("schema", name, SCHEMAS, f"there are {', '.join(SCHEMAS)}")
    # imported only here: the types of every result
    from vitcost.costs.saved.generate import schema_of
    from vitcost.schemas.documents import DOCUMENTS

    return schema_of(f"vitcost.{name}/1", DOCUMENTS[name])
