"""Pictures of plans and of serving: the cost of a choice against its speed."""

from collections.abc import Callable, Iterator

from vitcost.page import Axis, Plot, Point, shown
from vitcost.planner.choose import PlanRow
from vitcost.planner.plan import Plan
from vitcost.planner.serve import Serve

__all__ = ["plan_plots", "serve_plots"]

_DAY = 86_400


def plan_plots(result: Plan, named: Callable[[PlanRow], str]) -> Iterator[Plot]:
    """Cost against days for each way that fits (GPU-hours if no price is given); ``named`` gives
    the label of a way."""
    ways = [(result.card.name, row) for row in result.found]
    others = [(each.gpu, each.best) for each in result.beside if each.gpu != result.card.name]
    ways += [(gpu, row) for gpu, row in others if row is not None]
    known = [(gpu, row) for gpu, row in ways if row.fits and row.run_seconds and row.gpu_hours]
    costs = {row.cost for _, row in known}
    priced = bool(costs) and None not in costs
    points = tuple(
        Point(
            f"{gpu}, {named(row)}",
            gpu,
            (row.run_seconds or 0) / _DAY,
            (row.cost if priced else row.gpu_hours) or 0,
        )
        for gpu, row in known
    )
    if len(points) > 1:
        of = "Cost" if priced else "GPU-hours"
        note = f"each point a way to divide the step on {result.card.name} that fits"
        if result.beside:
            note += ", or another card at its best"
        yield Plot(
            f"{of} against days", Axis("days", "relative"), Axis(of, "si"), points, notes=(note,)
        )


def serve_plots(result: Serve) -> Iterator[Plot]:
    """The cost of each card that carries the load against its latency; without a price, the number
    of cards."""
    known = [row for row in result.found if row.cards and row.latency_seconds]
    priced = all(row.cost_per_million_images is not None for row in known)
    points = tuple(
        Point(
            f"{row.cards} × {row.gpu} in batches of {row.batch}",
            row.gpu,
            row.latency_seconds or 0,
            (row.cost_per_million_images if priced else row.cards) or 0,
        )
        for row in known
    )
    if points:
        of = "Cost a million images" if priced else "Cards"
        load = result.load
        notes = ["each point a card that carries the load, in its best batch"]
        if load.slo_seconds is not None:
            notes.append(f"wanted within {shown(load.slo_seconds, 'seconds')}")
        yield Plot(
            f"{of} against latency",
            Axis(f"latency, {load.percentile:g} % of the answers", "seconds"),
            Axis(of, "si"),
            points,
            notes=tuple(notes),
        )
