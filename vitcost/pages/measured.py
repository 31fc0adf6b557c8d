"""The page of a report that is measured."""

from vitcost.measured import MeasuredReport
from vitcost.page import Column, Page, Row, Table

__all__ = ["measured_page"]


def measured_page(report: MeasuredReport) -> Page:
    """The model's own modules, the total, and what the total leaves out."""
    found = report.measured
    rows = [
        Row((m.path or "on no module", m.type, m.shape, m.params, m.flops // 2, m.flops))
        for m in found.layers
    ]
    flops = report.forward_flops
    macs = None if flops is None else flops // 2
    total = Row(("total", "", "", found.params, macs, flops), "total")
    table = Table(
        f"Modules, forward, batch of {report.scenario.batch:,}",
        (
            Column("module"),
            Column("type", optional=True),
            Column("output", "shape"),
            Column("params", "count"),
            Column("MACs", "si"),
            Column("FLOPs", "si"),
        ),
        (*rows, total),
    )
    uncounted = tuple(f"not counted: {what}" for what in found.uncounted)
    idle = ", ".join(found.unread)
    unread = (f"no operator of this forward read the parameters of {idle}",) if idle else ()
    return Page(
        report.model.name,
        (
            f"measured on torch's meta device, not derived: {report.model.reason}",
            f"{found.params:,} parameters, {found.trainable:,} of which train, "
            + ("FLOPs not counted" if flops is None else f"{flops:,} FLOPs"),
        ),
        (table,),
        (
            *uncounted,
            *unread,
            "1 MAC = 2 FLOPs. Memory, pointwise work and training need a formula.",
        ),
    )
