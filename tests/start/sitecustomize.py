"""Read at the start of every process of the tests: torchvision imports beside a torch for the CPU.

Its Python code names two operators that its binary does not register there. They are declared when
somebody asks for torchvision, and nothing here calls them.
"""

import sys
from typing import Any

_OPS = ("nms", "qnms")
# the operators live as long as their library
_libraries: list[Any] = []


class _Declared:
    """Looks for no module: it is asked before those who do."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        if name != "torchvision" or _libraries:
            return
        from torch import library

        ops = library.Library("torchvision", "DEF")
        _libraries.append(ops)
        for each in _OPS:
            ops.define(f"{each}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


sys.meta_path.insert(0, _Declared)  # type: ignore[arg-type]
