"""Every public function with every argument of every wrong type."""

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import vitcost
from vitcost.outside.users_code import reason_of

__all__ = ["BASES", "Call", "calls", "outcome"]

TINY = "vit_tiny_patch16_224"


class Raises:
    """Whatever is asked of it raises."""

    def _no(self, *_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("asked")

    __eq__ = __str__ = __repr__ = __iter__ = __len__ = __bool__ = __index__ = __int__ = _no
    __float__ = __getitem__ = __contains__ = __call__ = __lt__ = __le__ = __gt__ = __ge__ = _no
    __fspath__ = __add__ = __mul__ = __rmul__ = __radd__ = __format__ = _no
    __hash__ = None  # type: ignore[assignment]


class Hashed(Raises):
    """The same, that a table may be asked for."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash("hashed")


class Endless:
    """Is whatever is asked for, for ever."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_: Any, **__: Any) -> "Endless":
        return self

    def __iter__(self) -> Iterator["Endless"]:
        return itertools.repeat(self)


class Text(str):
    """Text of a class of its own."""

    __slots__ = ()


def odd_values() -> dict[str, Any]:
    """Values of every kind; those of numpy too, which scripts pass."""
    import numpy as np

    return {
        "none": None,
        "true": True,
        "zero": 0,
        "minus": -1,
        "three": 3,
        "huge": 10**30,
        "unprintable": 10**5000,
        "half": 0.5,
        "nan": float("nan"),
        "infinite": float("inf"),
        "complex": 1j,
        "empty": "",
        "word": "x",
        "number": "3",
        "control": "\x1b[2J\n\0",
        "surrogate": "\ud800",
        "long": "x" * 10**6,
        "text": Text("vit_tiny_patch16_224"),
        "bytes": b"x",
        "path": Path("x.json"),
        "list": [],
        "list of one": [1],
        "list of text": ["x"],
        "list of none": [None],
        "nested": [[[1]]],
        "tuple": (),
        "pair": (1, 2),
        "text pair": ("params", "flops"),
        "set": {1, "a"},
        "dict": {},
        "dict of one": {"a": 1},
        "dict of batch": {"batch": [1, 2]},
        "odd dict": {1: 2, None: []},
        "proxy": MappingProxyType({"a": 1}),
        "range": range(3),
        "long range": range(10**12),
        "endless": itertools.count(),
        "generator": (i for i in range(2)),
        "function": len,
        "class": int,
        "object": object(),
        "namespace": SimpleNamespace(name="x", config=1, to_dict=dict),
        "exception": ValueError("x"),
        "ellipsis": ...,
        "raises": Raises(),
        "hashed": Hashed(),
        "mirror": Endless(),
        "np int": np.int64(4),
        "np huge": np.uint64(2**64 - 1),
        "np float": np.float32(0.5),
        "np bool": np.bool_(True),
        "np text": np.str_("fp32"),
        "np array": np.arange(3),
        "np empty": np.array([]),
        "np object": np.array([object()]),
        "scenario": vitcost.Scenario(),
        "config": vitcost.ViTConfig(depth=1),
        "report": vitcost.report(TINY),
        "error": vitcost.ConfigError,
    }


# a call that is answered, from which every other differs by one argument
BASES: Mapping[str, tuple[tuple[Any, ...], Mapping[str, Any]]] = {
    "ViTConfig": ((), {}),
    "Scenario": ((), {}),
    "assert_budget": ((TINY,), {"params": "6M"}),
    "budget": (("budgets.toml",), {}),
    "calibrate": (("rows.csv",), {}),
    "check_throughput": (("rows.csv",), {}),
    "compare": ((TINY,), {}),
    "diff": (("saved.json",), {}),
    "explain": ((TINY, "params"), {}),
    "fit": ((TINY,), {"gpu": "l4"}),
    "from_torch": ((None,), {}),
    "gpus": ((), {}),
    "models": (("vit_tiny_patch16_224",), {}),
    "plan": ((TINY,), {"samples": 10**6, "gpu": "l4"}),
    "report": ((TINY,), {}),
    "serve": ((TINY,), {"rate": 100, "gpu": "l4"}),
    "summary": ((TINY,), {}),
    "sweep": ((TINY,), {"vary": {"batch": [1, 2]}}),
    "web": (("site",), {}),
}
# classes of results and of errors, which nobody calls
NOT_CALLED = {
    "Comparison", "ConfigError", "MissingExtra", "NotCovered", "Report", "Sweep", "UnknownName",
    "VitcostError",
}  # fmt: skip
# fields and flags that every function with keywords takes
_KEYWORDS = ("batch", "precision", "img_size", "num_classes", "drop_rate", "act_layer", "qkv_bias",
             "gpu", "gpu_file", "calibration", "anchor", "no_such_field")  # fmt: skip


# values that say yes to a flag
_TRUE = {"true", "np bool"}


class Call(NamedTuple):
    """A function with one odd argument."""

    function: str
    argument: str
    value: str

    def run(self, values: Mapping[str, Any]) -> Any:
        args, kwargs = BASES[self.function]
        value = values[self.value]
        if self.argument.isdecimal():
            at = int(self.argument)
            args = (*args[:at], value, *args[at + 1 :])
        else:
            kwargs = {**kwargs, self.argument: value}
        return getattr(vitcost, self.function)(*args, **kwargs)


def calls() -> Iterator[Call]:
    """Every function, every argument of it, every value."""
    values = odd_values()
    for function in BASES:
        for argument in _arguments(function):
            for value in values:
                # every name of timm, which takes its time
                if not (argument == "all_timm" and value in _TRUE):
                    yield Call(function, argument, value)


def _arguments(function: str) -> list[str]:
    args, _ = BASES[function]
    parameters = inspect.signature(getattr(vitcost, function)).parameters.values()
    places = [str(i) for i in range(len(args))]
    named = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    named = named[sum(p.kind == p.POSITIONAL_OR_KEYWORD for p in parameters) and len(args) :]
    if any(p.kind == p.VAR_KEYWORD for p in parameters):
        named += _KEYWORDS
    return list(dict.fromkeys([*places, *named]))


def outcome(run: Callable[[], Any]) -> str:
    """``answered``, ``refused``, or the error that no user should see."""
    try:
        found = run()
        # results are computed when they are read
        if hasattr(found, "to_dict"):
            found.to_dict()
    except vitcost.VitcostError as error:
        said = str(error)
        return "refused" if said and len(said) < 2000 else f"a message of {len(said)} letters"
    except AssertionError as error:
        # assert_budget's own answer
        return "answered" if "exceeded" in str(error).lower() else reason_of(error)
    except BaseException as error:
        last = error.__traceback__
        while last is not None and last.tb_next is not None:
            last = last.tb_next
        where = f"{last.tb_frame.f_code.co_filename}:{last.tb_lineno}" if last else ""
        return f"{reason_of(error)} ({where})"
    return "answered"


class Late(BaseException):
    """A call that nobody waits for."""


def _late(*_: object) -> None:
    raise Late


def main(folder: str, step: int) -> None:
    """Prints every call that is no answer and no message, a line each, and how many there were.

    ``step``: every so many-th call alone.
    """
    import os
    import signal
    import time

    os.chdir(folder)
    signal.signal(signal.SIGALRM, _late)
    bad: dict[Call, str] = {}
    slow: dict[Call, float] = {}
    count = 0
    counts = {"answered": 0, "refused": 0}
    started = time.process_time()
    for call in islice(calls(), 0, None, step):
        if count % 20 == 0:
            # what is read once, a generator, is made again
            values = odd_values()
        before = time.process_time()
        signal.setitimer(signal.ITIMER_REAL, 10)
        found = outcome(partial(call.run, values))
        signal.setitimer(signal.ITIMER_REAL, 0)
        took = time.process_time() - before
        if took > 2:
            slow[call] = took
        count += 1
        if found in counts:
            counts[found] += 1
        else:
            bad[call] = found
    for call, found in bad.items():
        print(f"{call.function}({call.argument}={call.value}): {found}")
    for call, took in slow.items():
        print(f"{call.function}({call.argument}={call.value}): {took:.1f} s")
    print(
        f"{count} calls, {counts}, {len(bad)} bad, {len(slow)} slow, "
        f"{time.process_time() - started:.0f} s"
    )


if __name__ == "__main__":
    import sys

    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1)
