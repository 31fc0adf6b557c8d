"""Reports on many combinations of a model's flags, without the work that rows of a comparison do
not need."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vitcost.config.flags import apart, settled
from vitcost.config.scenario import Scenario
from vitcost.costs.report import Report, check_cards, report_on, tensors_on
from vitcost.engine.workload import Workload, workload
from vitcost.outside.arguments import listed, takes
from vitcost.zoo import Model, Resolved, resolve

if TYPE_CHECKING:
    from vitcost.hardware.users_cards import Known

__all__ = ["Many"]

# the most combinations in one comparison
_MOST = 1000

_FILES = ("gpu_file", "calibration", "anchor")


class Many:
    """Reports on combinations of flags. They lack two things that only the page of a single model
    shows: its memory by precision, and the batches at which the limit of its time changes.

    A model under a scenario is computed once, for all of its cards, and files of cards are read
    once, or are ``known`` already. ``flags`` are the keywords of ``report``.

    >>> many = Many()
    >>> one, two = (many.report("vit_tiny_patch16_224", gpu=gpu) for gpu in ("l4", "t4"))
    >>> one.layers is two.layers, one.time[0].gpu, two.time[0].gpu
    (True, 'l4', 't4')
    """

    def __init__(self, known: "Known | None" = None) -> None:
        self._reports: dict[tuple[str, object, Scenario], Report] = {}
        self._known = known

    @takes(gpu=listed, gpu_file=listed, calibration=listed, anchor=listed)
    @settled("report")
    def report(self, model: Model, **flags: Any) -> Report:
        """The report of a combination of flags; ``VitcostError`` as ``report`` raises it."""
        gpu, files = flags.pop("gpu", ()), {name: flags.pop(name, ()) for name in _FILES}
        asked, overrides = apart(flags)
        scenario = Scenario.of(**asked)
        resolved = resolve(model, **overrides)
        scenario = scenario.added_to(resolved.flags)
        run = workload(resolved.config, scenario)
        reported = self.reported(resolved, run, scenario)
        check_cards(gpu, **files)
        if not gpu:
            return reported
        # imported only if a comparison names a card
        from vitcost.hardware.timed import timed

        tensors = tensors_on(run, lambda on: self.reported(resolved, run, on))
        times = timed(
            resolved.config,
            scenario,
            gpu,
            tensors=tensors,
            turning=False,
            known=self.known,
            **files,
        )
        return replace(reported, time=times)

    def reported(self, resolved: Resolved, run: Workload, scenario: Scenario) -> Report:
        """The report of a model under a scenario, which may differ from the workload's own."""
        key = resolved.name, resolved.config, scenario
        if key not in self._reports:
            if len(self._reports) == _MOST:
                self._reports.clear()
            asked = run if scenario == run.scenario else run.under(scenario)
            self._reports[key] = report_on(resolved, asked)
        return self._reports[key]

    def known(self, gpu_file: Any, calibration: Any) -> "Known":
        """Cards and constants from files; no combination changes them."""
        from vitcost.hardware.users_cards import known

        if self._known is None:
            self._known = known(gpu_file, calibration)
        return self._known
