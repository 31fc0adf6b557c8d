"""Rules of thumb beside the exact bytes: the rough formulas of planners, and their errors."""

from vitcost.config.records import Record
from vitcost.config.vit_config import ViTConfig
from vitcost.engine.model import Config
from vitcost.engine.ops import Size, Sizes
from vitcost.errors import NotCovered
from vitcost.textbook.model_bytes import block_activation_bytes

__all__ = ["RuleOfThumb", "compared", "off_by", "rule_of_thumb"]


class RuleOfThumb(Record):
    """Bytes by rules of thumb for Φ parameters; an error says by which share a rule is above the
    exact bytes.

    ``saved_activations_bytes`` is the formula of Korthikanti et al. 2022 for every block; it needs
    an MLP four times as wide as the model.
    """

    inference_bytes: Size  # 2Φ: half precision weights
    training_bytes: Size  # 20Φ: fp16 mixed precision with Adam
    saved_activations_bytes: Size | None = None
    saved_activations_formula: str | None = None  # the formula for a block, with dropout or without
    inference_error: float | None = None  # relative to all bytes of inference
    training_error: float | None = None  # relative to model states and saved bytes
    saved_activations_error: float | None = None


def rule_of_thumb(params: Size) -> RuleOfThumb:
    """``2Φ`` bytes to infer, ``20Φ`` to train with Φ ``params``: weights 2 + 4, gradients 2 + 4,
    moments 4 + 4. Megatron Core's distributed optimizer guide.

    >>> rule_of_thumb(632_045_800)[:2]
    (1264091600, 12640916000)
    """
    return RuleOfThumb(2 * params, 20 * params)


def compared(
    params: Size, inference: Size, training: Size, saved: Size, config: Config, sizes: Sizes
) -> RuleOfThumb:
    """The rules for a model with ``params`` parameters, compared with its exact bytes of
    ``inference``, of ``training`` and of ``saved`` activations; each with the rule's error.

    Saved activations are ``L · (32sbh + 2as²b)``, with dropout ``L · (34sbh + 5as²b)``, of
    Korthikanti et al. 2022; left out if the formula does not cover the config.

    >>> from vitcost.engine.workload import workload
    >>> from vitcost.config.scenario import Scenario
    >>> from vitcost.zoo import resolve
    >>> base = workload(resolve("vit_base_patch16_224").config, Scenario())
    >>> config = resolve("vit_base_patch16_224").config
    >>> rule = compared(100, 400, 1600, 10**8, config, base.sizes)
    >>> rule.inference_error, rule.training_error  # 200 of 400, 2000 of 1600
    (-0.5, 0.25)
    >>> rule.saved_activations_bytes == 12 * (32 * 197 * 768 + 2 * 12 * 197**2)
    True
    """
    rule = rule_of_thumb(params)
    if not isinstance(params, int):
        # sizes that are arrays or symbols do not give a single error
        return rule
    rule = rule._replace(
        inference_error=off_by(rule.inference_bytes, inference),
        training_error=off_by(rule.training_bytes, training),
    )
    if not isinstance(config, ViTConfig):
        return rule
    dropout = config.proj_drop_rate > 0 and config.attn_drop_rate > 0
    b, s, h, a, m = (sizes[letter] for letter in "bsham")
    try:
        block = block_activation_bytes(b, s, h, a, dropout=dropout, m=m)
    except NotCovered:
        return rule
    return rule._replace(
        saved_activations_bytes=config.depth * block,
        saved_activations_formula="34sbh + 5as²b" if dropout else "32sbh + 2as²b",
        saved_activations_error=off_by(config.depth * block, saved),
    )


def off_by(rule: Size | None, exact: Size | None) -> float | None:
    """The share by which a rule is above the exact bytes, ``rule / exact - 1``; negative if it is
    below.

    >>> off_by(20, 16), off_by(None, 16)
    (0.25, None)
    """
    # sizes of a sweep may be symbols, for which no share is known
    if not isinstance(rule, int) or not isinstance(exact, int) or not exact:
        return None
    return rule / exact - 1
