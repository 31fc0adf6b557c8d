"""The engine on symbols is the textbook: what autograd keeps of a block and of a model."""

import itertools
from collections.abc import Iterator

import pytest
import sympy
from saved_support import block_of

from vitcost import textbook as tb
from vitcost.config.scenario import Scenario
from vitcost.config.vit_config import ViTConfig
from vitcost.costs.memory import cross_entropy_bytes
from vitcost.engine.cost import Row, fold
from vitcost.engine.lower import Mode, lower
from vitcost.engine.model import structure_of
from vitcost.engine.ops import Sizes
from vitcost.errors import NotCovered

b, a, d, m, K, L, c, p_h, p_w, g_h, g_w = sympy.symbols(
    "b a d m K L c p_h p_w g_h g_w", integer=True, positive=True
)
h, s = a * d, g_h * g_w + 1
LETTERS = Sizes(
    b=b, a=a, d=d, m=m, K=K, L=L, c=c, p_h=p_h, p_w=p_w, g_h=g_h, g_w=g_w, h=h, q=3 * h,
    n=g_h * g_w, s=s, s32=-(-s // 32) * 32, H=g_h * p_h, W=g_w * p_w,
)  # fmt: skip
ENGINE = {"fp32": "fp32", "autocast": "amp", "half": "half"}
KERNELS = {
    "cuda": ("eager", "math", "flash", "efficient", "cudnn"),
    "cpu": ("eager", "math", "flash"),
}


def runnings() -> Iterator[tb.Running]:
    for platform, precision in itertools.product(KERNELS, ENGINE):
        for kernel, drops in itertools.product(KERNELS[platform], (False, True)):
            # the CPU's fused kernel takes no dropout
            attention = drops and (platform, kernel) != ("cpu", "flash")
            yield tb.Running(precision, kernel, platform, drops, attention, drops, drops)


def in_letters(how: tb.Running) -> Row:
    config = ViTConfig(
        depth=12,
        pos_drop_rate=0.1 * how.position_dropout,
        proj_drop_rate=0.1 * how.dropout,
        attn_drop_rate=0.1 * how.attention_dropout,
        drop_path_rate=0.1 * how.drop_path,
    )
    mode = Mode(how.attention, ENGINE[how.precision], how.platform)
    return fold(lower(structure_of(config, 2, True), mode), LETTERS)


@pytest.mark.parametrize("how", [*runnings()], ids=lambda how: "-".join(map(str, how)))
def test_the_engine_on_symbols_is_the_textbook(how: tb.Running) -> None:
    """Engine minus textbook is zero for every size: the block, and the model with its loss."""
    row = in_letters(how)
    block = block_of(row).cost.saved_bytes
    assert sympy.expand(block - tb.block_saved_bytes(b, s, h, a, m, how)) == 0
    v = tb.Vit(H=g_h * p_h, W=g_w * p_w, p_h=p_h, p_w=p_w, h=h, L=L, K=K, c=c, m=m)
    precision = {"autocast": "amp-bf16", "half": "bf16"}.get(how.precision, how.precision)
    loss = cross_entropy_bytes(b * K, Scenario(precision=precision, platform=how.platform))
    whole = row.cost.saved_bytes + loss
    assert sympy.expand(whole - tb.vit_saved_bytes(v, a, b, how)) == 0


@pytest.mark.parametrize("precision", ENGINE)
def test_a_checkpointed_model_is_the_textbook(precision: str) -> None:
    how = tb.Running(precision, "flash")
    tree = lower(
        structure_of(ViTConfig(), 2, True), Mode("flash", ENGINE[precision], "cuda", "layers")
    )
    scenario = Scenario(
        precision={"autocast": "amp-bf16", "half": "bf16"}.get(precision, precision)
    )
    whole = fold(tree, LETTERS).cost.saved_bytes + cross_entropy_bytes(b * K, scenario)
    v = tb.Vit(H=g_h * p_h, W=g_w * p_w, p_h=p_h, p_w=p_w, h=h, L=L, K=K, c=c, m=m)
    assert sympy.expand(whole - tb.vit_saved_bytes(v, a, b, how, checkpointed=True)) == 0


def test_the_published_formula_and_what_it_leaves_out() -> None:
    """Korthikanti 2022 has 32sbh + 2as²b without dropout: half precision, no norm statistics."""
    half = tb.block_saved_bytes(b, s, h, a, 4 * h, tb.Running("half"))
    published = tb.block_activation_bytes(b, s, h, a, dropout=False)
    assert sympy.expand(half - published - 16 * b * s) == 0


def test_one_image_or_one_head_in_the_math_kernel() -> None:
    """The products read scaled queries and keys in place: 2·4·bsh more than copies of all three."""
    how = tb.Running("fp32", "math")
    s, h, m = 3, 4, 5
    # two norms, the linear layers' inputs, GELU, q and k scaled, v, and the weights
    norms, inputs = 2 * 4 * s * h + 4 * 4 * s, 4 * (3 * s * h + 2 * s * m)
    assert tb.block_saved_bytes(1, s, h, 2, m, how) == norms + inputs + 20 * s * h + 4 * 2 * s * s


def test_beyond_the_closed_form() -> None:
    v = tb.Vit(H=224, W=224, p_h=16, p_w=16, h=768, L=12, K=1000)
    for beyond in (v._replace(distilled=True), v._replace(r=768), v._replace(K=0)):
        with pytest.raises(NotCovered):
            tb.vit_saved_bytes(beyond, 12, 1, tb.Running())
