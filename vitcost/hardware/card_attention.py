"""The attention kernels of cards, and a scenario as it runs on a card."""

from dataclasses import replace
from typing import NamedTuple

from vitcost.config.numbered import torch_version
from vitcost.config.scenario import Scenario
from vitcost.errors import NotCovered
from vitcost.hardware.cards import Card

__all__ = ["Kernels", "kernels_on", "on_card", "on_platform"]


class Kernels(NamedTuple):
    """The kernels of ``scaled_dot_product_attention`` that a card can run, beside math."""

    flash: bool
    cudnn: bool
    efficient: bool  # whether the efficient kernel runs, in fp32 and fp16
    efficient_bf16: bool


_NEWER = Kernels(True, True, True, True)
# aten's cuda/sdp_utils.cpp: check_flash_attention_hardware_support and check_cudnn_hardware_support
# require 8.0, check_mem_efficient_hardware_support 5.0; its less_than_sm80 types have no bf16
_FLASH_FROM, _EFFICIENT_FROM = (8, 0), (5, 0)
_FUSED_SINCE = (2, 0)
# AMD's kernels are AOTriton's, which torch is built with for these targets: cmake/External/
# aotriton.cmake
_AOTRITON = ("gfx90a", "gfx942", "gfx950")


def kernels_on(row: Card) -> Kernels:
    """The attention kernels of a card; a card without a known architecture has all of them. Source:
    torch's aten/src/ATen/native/transformers/cuda/sdp_utils.cpp.

    >>> from vitcost.hardware.specs import card
    >>> kernels_on(card("t4"))
    Kernels(flash=False, cudnn=False, efficient=True, efficient_bf16=False)
    """
    if row.architecture.startswith("gfx"):
        has = row.architecture in _AOTRITON
        return Kernels(has, False, has, has)
    capability = row.capability
    if capability is None:
        return _NEWER
    newer = capability >= _FLASH_FROM
    return Kernels(newer, newer, capability >= _EFFICIENT_FROM, newer)


def on_platform(scenario: Scenario, row: Card) -> Scenario:
    """The scenario on the platform of a card; a processor sets the platform to ``cpu``.

    Raises ``NotCovered`` for the platform ``cpu`` with a card that is not a processor.

    >>> from vitcost.hardware.specs import card
    >>> on_platform(Scenario(), card("cpu-i9_10940x")).platform
    'cpu'
    """
    if row.is_processor:
        return replace(scenario, platform="cpu")
    if scenario.platform == "cpu":
        raise NotCovered(f"{row.name} is no processor, and the platform is cpu")
    return scenario


def on_card(scenario: Scenario, row: Card) -> Scenario:
    """The scenario with the attention kernel that torch chooses on a card, if newer cards run
    another one.

    Raises ``NotCovered`` for a kernel that the user named and the card does not have. Source:
    torch's aten/src/ATen/native/transformers/cuda/sdp_utils.cpp.

    >>> from vitcost.hardware.specs import card
    >>> scenario = Scenario(precision="amp-fp16")
    >>> on_card(scenario, card("v100-sxm2")).attention, on_card(scenario, card("l4")).attention
    ('efficient', 'sdpa')
    """
    kernels, asked = kernels_on(row), scenario.attention
    if asked == "sdpa" and (torch_version(scenario.software) or _FUSED_SINCE) < _FUSED_SINCE:
        # this version of torch has no fused attention
        return replace(scenario, attention="eager")
    if scenario.platform == "cpu" or kernels == _NEWER or asked in ("eager", "math"):
        return scenario
    bf16 = scenario.precision.endswith("bf16")
    efficient = kernels.efficient_bf16 if bf16 else kernels.efficient
    has = {"flash": kernels.flash, "cudnn": kernels.cudnn, "efficient": efficient}
    if asked == "sdpa":
        if kernels.flash:
            return scenario
        return replace(scenario, attention="efficient" if efficient else "math")
    if not has[asked]:
        known = [kernel for kernel in ("efficient", "flash", "cudnn") if has[kernel]]
        raise NotCovered(
            f"{row.name} ({_said(row)}) has no {asked} attention kernel in {scenario.precision}; "
            f"it has {', '.join([*known, 'math', 'eager'])}, and sdpa is torch's choice of them"
        )
    return scenario


def _said(row: Card) -> str:
    if row.capability is None:
        return row.architecture
    least = ".".join(map(str, _FLASH_FROM))
    return f"compute capability {row.architecture}; flash, cudnn and bf16 need {least}"
