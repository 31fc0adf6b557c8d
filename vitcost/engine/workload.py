"""``Workload``: one model under one scenario, the seam between what knows models and what asks.

Two things make one: the engine, from a config through its op list and passes (``workload`` below),
and a trace of a torch module. Report, memory, time, fit and plan ask a workload, and do not ask
which of the two it is.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from vitcost.engine.cost import Row, fold
from vitcost.engine.kernels import attention_kernels
from vitcost.engine.launches import Launches, flatten
from vitcost.engine.lower import Mode, layer_counts, lower
from vitcost.engine.model import AnyStructure, Config, sizes_of, structure_of
from vitcost.engine.ops import Sizes, Tensor
from vitcost.engine.parameters import Parameter, parameters
from vitcost.engine.step import inference_trace, step_trace
from vitcost.engine.tree import Node
from vitcost.errors import NotCovered
from vitcost.scenario import PRECISIONS, Scenario

if TYPE_CHECKING:
    from vitcost.engine.live import Event

__all__ = ["Workload", "mode_of", "workload"]


class Workload:
    """One model under one scenario; ``scenario.mode`` says whether it trains.

    ``sizes`` has the size of every axis of its tensors: integers, or arrays and symbols where the
    maker can. ``inputs`` are the caller's tensors, ``outputs`` what the model returns, ``losses``
    the output that each cross entropy of its loss reads. A method that a maker has no answer for
    raises ``NotCovered`` with the reason.
    """

    __slots__ = ()

    scenario: Scenario
    sizes: Sizes
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    losses: tuple[Tensor, ...]

    @property
    def training(self) -> bool:
        return self.scenario.mode == "train"

    def at(self, batch: int) -> "Workload":
        """The same with another batch; a batch of one may run other operators."""
        return self.under(replace(self.scenario, batch=batch))

    def under(self, scenario: Scenario) -> "Workload":
        """The same model under another scenario; ``NotCovered`` where the maker has none."""
        raise NotCovered("this model under another scenario")

    def rows(self) -> Row:
        """Parameters, FLOPs, bytes moved and bytes saved of every module, equal ones in a row."""
        raise NotCovered("the costs of this model's modules")

    def parameters(self) -> tuple[Parameter, ...]:
        """Every parameter, in the order of the module's ``parameters()``, and whether it trains."""
        raise NotCovered("the parameters of this model")

    def inference(self) -> "tuple[Event, ...]":
        """Every storage that a forward pass in eval allocates and frees, in order, and the moments
        at which the sum is looked at: parameters and inputs are not in it."""
        raise NotCovered("the memory of this model in inference")

    def step(self, in_place: bool = True) -> "tuple[Event, ...]":
        """The same of a training step: forward, loss and backward, up to the optimizer's step.

        At its end the gradients are alive and the loss. Gradients that the scenario keeps from the
        backward pass before are not in it. Without ``in_place`` gradients are added up as torch's
        trackers see it: never in place.
        """
        raise NotCovered("the memory of this model in training")

    def kernels(self) -> Launches:
        """Every operator of a forward pass in the order they run, views among them; the same object
        for every batch that runs the same."""
        raise NotCovered("the kernels of this model: no time")

    def attention(self) -> tuple[str, ...]:
        """The kernels that compute its attentions, most used first."""
        raise NotCovered("the attention kernels of this model")


def workload(config: Config, scenario: Scenario, sizes: Sizes | None = None) -> Workload:
    """A config under a scenario, through the declared op list and its passes.

    ``sizes`` are in place of the config's own: arrays or symbols, for every axis.

    >>> from vitcost.zoo import resolve
    >>> base = workload(resolve("vit_base_patch16_224").config, Scenario(batch=8))
    >>> base.rows().cost.params, base.attention(), base.at(1).rows().cost.flops
    (86567656, ('efficient',), 35127656448)
    """
    # a model that no config describes makes its own
    made: Callable[[Scenario], Workload] | None = getattr(config, "workload", None)
    if made is not None:
        return made(scenario)
    return _Lowered(config, scenario, sizes, sizes is not None)


class _Lowered(Workload):
    """A config through the declared op list and its passes."""

    __slots__ = ("config", "given", "inputs", "losses", "outputs", "scenario", "sizes")

    def __init__(
        self, config: Config, scenario: Scenario, sizes: Sizes | None, given: bool
    ) -> None:
        self.config, self.scenario, self.given = config, scenario, given
        self.sizes = sizes_of(config, scenario.batch) if sizes is None else sizes
        tree = self._tree(self.training)
        self.inputs, self.outputs = tree.inputs, (tree.output, *tree.also)
        self.losses = (tree.output,) * config.losses

    def under(self, scenario: Scenario) -> Workload:
        # sizes that were given are of this batch
        other = scenario.batch != self.scenario.batch
        if self.given and other:
            raise NotCovered(f"batch {scenario.batch} of sizes that were given")
        return _Lowered(self.config, scenario, None if other else self.sizes, self.given)

    def rows(self) -> Row:
        return fold(self._tree(self.training), self.sizes)

    def parameters(self) -> tuple[Parameter, ...]:
        return _parameters(*self._key(training=True))

    def inference(self) -> "tuple[Event, ...]":
        return inference_trace(*self._key(training=False))

    def step(self, in_place: bool = True) -> "tuple[Event, ...]":
        onto = self.scenario.keeps_gradients
        return step_trace(*self._key(training=True), in_place, onto=onto)

    def kernels(self) -> Launches:
        return _launches(*self._key(self.training))

    def attention(self) -> tuple[str, ...]:
        return attention_kernels(self._tree(self.training), self.sizes)

    def _key(self, training: bool) -> tuple[AnyStructure, Mode]:
        """What exists, and the passes: everything but the sizes."""
        structure = structure_of(self.config, self.scenario.batch, training)
        return structure, mode_of(self.config, self.scenario)

    def _tree(self, training: bool) -> Node:
        return lower(*self._key(training))


@lru_cache(maxsize=512)
def _launches(structure: AnyStructure, mode: Mode) -> Launches:
    return Launches(flatten(lower(structure, mode)))


@lru_cache(maxsize=256)
def _parameters(structure: AnyStructure, mode: Mode) -> tuple[Parameter, ...]:
    return tuple(parameters(lower(structure, mode)))


def mode_of(config: Config, scenario: Scenario) -> Mode:
    """The passes that the engine applies under a scenario."""
    checkpointing, every = scenario.regions
    frozen, layers = scenario.frozen
    if scenario.lora and not frozen:
        frozen = "backbone"
    mode = Mode(
        scenario.attention,
        PRECISIONS[scenario.precision].engine,
        scenario.platform,
        checkpointing,
        every,
        frozen,
        layers,
        tuple(scenario.lora_layers.split(",")) if scenario.lora else (),
        scenario.lora,
        half=PRECISIONS[scenario.precision].half,
    )
    if every > 1 or frozen in ("first", "last"):
        mode = mode._replace(layers=layer_counts(structure_of(config), sizes_of(config)))
    return mode
