"""A contrastive loss over data-parallel ranks: the ranks whose features one rank compares.

open_clip's ``ClipLoss`` gathers the features of all N ranks, and its ``SigLipLoss`` compares the
images of a rank with the texts of each other rank in turn. transformers' models compute their loss
inside their forward, over the pairs of one rank.
"""

from vitcost.config.scenario import Scenario
from vitcost.engine.model import Config
from vitcost.engine.ops import Size, Sizes
from vitcost.engine.structure import MANY
from vitcost.errors import ConfigError

__all__ = ["gathers", "over_ranks"]


def gathers(config: Config, scenario: Scenario) -> str:
    """How a loss gathers features: a value of ``Scenario.gather``. Or ``exchanged``, if ranks pass
    their texts on to both neighbours, with how often they do so (at most MANY times) and whether
    one rank is left over. Empty: nothing is gathered.

    Raises ``ConfigError`` for a value beside the default where no loss gathers any.

    >>> from vitcost.zoo import resolve
    >>> names = ("ViT-B-32", "ViT-B-16-SigLIP", "vit_base_patch16_224")
    >>> [gathers(resolve(name).config, Scenario(ranks=8)) for name in names]
    ['all', 'exchanged 3 1', '']
    """
    library = getattr(getattr(config, "text", None), "family", "")
    pair = hasattr(config, "vision") and library.startswith("open_clip")
    sigmoid = pair and getattr(config, "logit_bias", False)
    if scenario.gather != "all" and (sigmoid or not pair):
        raise ConfigError(
            f"gather {scenario.gather} is of open_clip's ClipLoss, which compares the towers of a "
            "pair without a bias of its logits; no other loss gathers features"
        )
    if scenario.ranks == 1 or not pair:
        return ""
    rounds, one_left = divmod(scenario.ranks - 1, 2)
    return f"exchanged {min(rounds, MANY)} {one_left}" if sigmoid else scenario.gather


def over_ranks(ranks: Size, batch: Size) -> Sizes:
    """The sizes of the axes of gathered features: the ranks, the other ranks, the pairs of all
    ranks, and how often ranks pass texts on to both neighbours.

    >>> over_ranks(8, 32)
    {'N': 8, 'N-1': 7, 'B': 256, 'rounds': 3}
    """
    return Sizes({"N": ranks, "N-1": ranks - 1, "B": ranks * batch, "rounds": (ranks - 1) // 2})
