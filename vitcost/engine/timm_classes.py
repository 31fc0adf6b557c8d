"""How timm's classes put a model together where they differ: one row a class.

Source: timm 1.0.31, models/vision_transformer.py, models/eva.py and models/beit.py.
"""

from collections.abc import Mapping

from vitcost.config.records import Record

__all__ = ["CLASSES", "Made"]


class Made(Record):
    """The behaviour of a class beside the fields of its config."""

    name: str
    # the pools after which it puts the last norm by default
    late_norms: tuple[str, ...]
    # whether norms before and after the pool are independent, or one norm is moved
    two_norms: bool = False
    # layer scale: a module of its own or a parameter of the block; whether 0 is a scale, or none
    scale_module: bool = False
    scale_zero: bool = False
    # the embedding: copied where it has neither tokens nor positions; tokens expanded to the batch
    # before positions are resampled; dropped out though no positions are added
    copies_alone: bool = False
    expands_first: bool = False
    drops_alone: bool = True
    # an attention pool: its activation, "" that of the blocks; whether it reads prefix tokens
    pool_act: str = ""
    pools_prefix: bool = False
    # other names of its blocks and attentions
    types: tuple[tuple[str, str], ...] = ()

    def type(self, name: str) -> str:
        """The name of the class of a block or an attention.

        >>> CLASSES["Eva"].type("Block"), CLASSES["Beit"].type("Block")
        ('EvaBlock', 'Block')
        """
        return dict(self.types).get(name, name)


_ROWS = (
    Made(
        "VisionTransformer",
        ("avg", "avgmax", "max"),
        scale_module=True,
        copies_alone=True,
        expands_first=True,
        drops_alone=False,
    ),
    Made(
        "Eva",
        ("avg",),
        two_norms=True,
        scale_zero=True,
        pool_act="gelu",
        pools_prefix=True,
        types=(("Block", "EvaBlock"), ("ResPostBlock", "EvaBlockPostNorm")),
    ),
    Made("Beit", ("avg",), types=(("EvaAttention", "Attention"),)),
)
CLASSES: Mapping[str, Made] = {row.name: row for row in _ROWS}
