"""A torch module that no formula describes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from vitcost.config import configure
from vitcost.errors import ConfigError
from vitcost.users_code import users_code

if TYPE_CHECKING:
    from torch import nn

    from vitcost.check.measure import Measured

__all__ = ["Foreign"]


# a measured module is what it is: what it was built for and what it is fed are one
_IMAGE = ("img_size", "input_size", "in_chans")


class Foreign(NamedTuple):
    """A module that no formula describes, and why; what it costs can be measured."""

    name: str
    source: str
    module: "nn.Module"
    input_shape: tuple[int, ...]
    reason: str

    def on_top(self, overrides: Mapping[str, Any]) -> "Foreign":
        """The same module on other images: it has no field but their size and channels."""
        beyond = [name for name in overrides if name not in _IMAGE]
        if beyond:
            raise ConfigError(
                f"{self.name} is measured, so that it has no field {beyond[0]}: {self.reason}"
            )
        # what may be an image is what a config says
        given = {"img_size": self.input_shape[1:], "in_chans": self.input_shape[0], "patch_size": 1}
        image = configure({**given, "interpolate_pos_encoding": "same"}, **overrides)
        return self._replace(input_shape=(image.in_chans, *image.image))

    def measure(self, batch: int = 1) -> "Measured":
        """Its parameters and forward FLOPs, and what could not be counted."""
        from vitcost.check.measure import measure

        with users_code(f"{self.name}: running it on meta"):
            return measure(self.module, (batch, *self.input_shape))
