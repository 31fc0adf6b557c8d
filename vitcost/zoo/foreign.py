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


class Foreign(NamedTuple):
    """A module that no formula describes, and why; what it costs can be measured."""

    name: str
    source: str
    module: "nn.Module"
    input_shape: tuple[int, ...]
    reason: str

    def on_top(self, overrides: Mapping[str, Any]) -> "Foreign":
        """The same module on other images: it has no field but their size and channels."""
        beyond = [name for name in overrides if name not in ("img_size", "in_chans")]
        if beyond:
            raise ConfigError(
                f"{self.name} is measured, so that it has no field {beyond[0]}: {self.reason}"
            )
        # what may be an image is what a config says
        given = {"img_size": self.input_shape[1:], "in_chans": self.input_shape[0], "patch_size": 1}
        image = configure(given, **overrides)
        return self._replace(input_shape=(image.in_chans, *image.img_size))

    def measure(self, batch: int = 1) -> "Measured":
        """Its parameters and forward FLOPs, and what could not be counted."""
        from vitcost.check.measure import measure

        with users_code(f"{self.name}: running it on meta"):
            return measure(self.module, (batch, *self.input_shape))
