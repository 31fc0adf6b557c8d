"""``summary``: the table of ``torchsummary`` 1.5.1, character for character, without torch.

Its mistakes are copied too: it misses parameters that sit on no layer, and takes twice the sum of
all outputs as the memory of a forward and backward pass. ``Summary.notes`` says so, with the true
counts.
"""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from vitcost.config.fields import as_python
from vitcost.config.records import Record
from vitcost.config.scenario import Scenario
from vitcost.config.vit_config import ViTConfig
from vitcost.engine.cost import Row
from vitcost.engine.model import Config
from vitcost.engine.ops import Size
from vitcost.engine.workload import workload
from vitcost.errors import ConfigError, NotCovered, shown
from vitcost.zoo import Model, resolve

__all__ = ["Call", "Summary", "calls", "counted_params", "summarize", "summary"]

# the fields that a plain module tree can have; all others must have their defaults
_PLAIN = {
    "img_size", "patch_size", "in_chans", "num_classes", "embed_dim", "depth", "num_heads",
    "mlp_dim", "qkv_bias", "qk_scale", "scale_query", "dist_token", "representation_size",
    "patch_norm", "pos_drop_rate", "proj_drop_rate", "attn_drop_rate", "drop_path_rate",
}  # fmt: skip

# how many module calls a block has; how long a table may get
_BLOCK_ROWS, _MAX_ROWS = 16, 10**6


class Call(Record):
    """A module call as torchsummary lists it: type, output shape without the batch, parameters."""

    type: str
    shape: tuple[Size, ...]
    params: Size


class Summary(Record):
    """The table as text, and notes on the parts that torchsummary leaves out."""

    text: str
    notes: tuple[str, ...]


def summary(model: Model, *, batch: int = -1, **overrides: Any) -> str:
    """The table that ``torchsummary.summary(model, (c, h, w), batch)`` prints, in eval mode;
    ``batch`` is the first number of its shapes.

    Raises ``ConfigError`` and ``NotCovered`` as ``summarize`` does. Source: torchsummary 1.5.1.

    >>> print(summary("vit_base_patch32_224", num_classes=5).splitlines()[-9])
    Total params: 87,419,909
    """
    return summarize(model, batch=batch, **overrides).text


def summarize(model: Model, *, batch: int = -1, **overrides: Any) -> Summary:
    """The table, with notes on the parts that it leaves out.

    Raises ``ConfigError`` for an invalid batch, ``NotCovered`` for a model that is not a plain
    module tree.

    >>> summarize("vit_base_patch16_224").notes[0]
    'torchsummary misses the class token and position embedding, which are no layers: 152,064 ...'
    """
    batch = as_python(batch)
    if type(batch) is not int or not (batch == -1 or 1 <= batch <= 10**9):
        raise ConfigError(
            f"batch must be a positive integer, or -1 as torchsummary's, got {shown(batch)}"
        )
    config = resolve(model, **overrides).config
    if hasattr(config, "traces"):
        # imported only for traced models
        from vitcost.traced.summary_table import summarized

        return Summary(*summarized(config.traces.any(), batch))
    if not isinstance(config, ViTConfig) or not covers(config):
        odd = ", ".join(_odd(config))
        instead = "is traced" if hasattr(config, "workload") else "reads text"
        why = f"differs in {odd}" if odd else instead
        raise NotCovered(
            f"torchsummary's table is covered for the plain ViT only; this model {why}"
        )
    if config.depth * _BLOCK_ROWS > _MAX_ROWS:
        raise NotCovered(f"a table of {config.depth:,} blocks is longer than {_MAX_ROWS:,} rows")
    # imported only for a table, not for a report that counts parameters
    from vitcost.traced.torchsummary import Listed, lines

    # torchsummary hooks the modules of the definition; a fused kernel would skip some of them
    root = workload(config, Scenario(attention="eager")).rows()
    every = list(calls(root))
    rows = [Listed(call.type, [batch, *call.shape], call.params, True) for call in every]
    text = "\n".join(lines(rows, (config.in_chans, *config.image), batch))
    return Summary(text, _notes(config, root.cost.params, every))


def covers(config: Config) -> bool:
    """Whether a config is a plain ViT, whose module tree torchsummary's table shows."""
    return isinstance(config, ViTConfig) and not _odd(config)


def counted_params(config: Config, root: Row) -> Size | None:
    """The parameters that torchsummary counts; None if its table is not covered: all but the class
    token and the position embedding, which belong to no layer.

    >>> config = resolve("vit_base_patch16_224").config
    >>> root = workload(config, Scenario()).rows()
    >>> counted_params(config, root) == 86_567_656 - 768 - 197 * 768
    True
    """
    if not covers(config):
        return None
    missed = sum(row.cost.params for row in root.children if row.type == "Parameter")
    return root.cost.params - missed


def calls(root: Row) -> Iterator[Call]:
    """Every module call in the order in which it returns, as forward hooks see them. Source:
    torchsummary 1.5.1, torchsummary.py, ``register_hook``.

    >>> config = resolve("vit_base_patch16_224").config
    >>> next(calls(workload(config, Scenario(attention="eager")).rows()))
    Call(type='Conv2d', shape=(768, 14, 14), params=590592)
    """
    for row in root.children:
        for _ in range(row.repeat):
            yield from calls(row)
            if row.type not in ("Sequential", "Parameter"):
                params = 0 if row.children else row.cost.params
                yield Call(row.type, row.shape[1:], params)


def _odd(config: Config) -> list[str]:
    """The fields in which the config of an image model differs from a plain ViT."""
    if not isinstance(config, ViTConfig):
        return []
    plain = (field for field in fields(config) if field.name not in _PLAIN)
    return [field.name for field in plain if getattr(config, field.name) != field.default]


def _notes(config: ViTConfig, params: Size, table: list[Call]) -> tuple[str, ...]:
    from vitcost.traced.torchsummary import TWICE

    missed = params - sum(call.params for call in table)
    tokens = "class token, distillation token" if config.dist_token else "class token"
    return (
        f"torchsummary misses the {tokens} and position embedding, which are no layers: "
        f"{missed:,} parameters; the model has {params:,}.",
        TWICE,
    )
