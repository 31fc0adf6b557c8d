"""Odd torch modules: source of a module whose factory, forward and methods do what they like."""

import json
import random
from collections.abc import Callable, Sequence
from typing import TypeAlias

__all__ = ["command", "source"]

Random: TypeAlias = random.Random

# expressions that raise or return, with texts that a terminal or a job of CI could obey
_ERRORS = (
    "ValueError('::error::x')", "KeyError('##[error]y')", "RuntimeError('\\x1b]0;z\\x07')",
    "SystemExit(0)", "SystemExit(3)", "SystemExit('text')", "GeneratorExit()", "StopIteration()",
    "MemoryError()", "RecursionError('deep')", "NotImplementedError()", "AssertionError()",
    "ImportError('x')", "OSError(2, 'No such file')", "BrokenPipeError()", "UnicodeError('x')",
    "ExceptionGroup('several', [ValueError(1), TypeError(2)])", "Mute()", "Numb()", "Empty()",
    "ValueError('x' * 10**6)", "ValueError('a\\n::error::b')", "ValueError('\\ud800')",
    "SyntaxError('x', ('f', 1, 1, 'y'))", "Warning('w')", "LookupError('x')",
)  # fmt: skip
_RETURNED = (
    "None", "3", "'text'", "True", "x", "()", "[]", "{}", "[x, [x, (x,)]]", "{'a': x, 1: None}",
    "(i for i in [x])", "map(self.layer, [x])", "iter([x])", "lambda: x", "object()", "Mute()",
    "{'logits': self.layer(x)}", "(self.layer(x), 'text', None)", "cyclic(x)", "deep(x)", "type(x)",
    "self", "Hostile()", "self.layer(x).sum()", "self.layer(x).to(torch.complex64)",
    "self.layer(x).to(torch.int8)", "self.layer(x)[..., :0]", "torch.tensor(float('nan'))",
    "self.layer(x).expand(3, *self.layer(x).shape)", "torch.empty(0)", "[x] * 100000",
    "self.layer(x).to_sparse()", "torch.nested.nested_tensor([self.layer(x)[0]])",
    "Named(self.layer(x), x)", "Data(self.layer(x))", "asyncio.sleep(0)", "super().forward(x)",
)  # fmt: skip
_STATEMENTS = (
    "print('printed')", "print('printed', file=sys.stderr)", "os.write(1, b'below\\n')",
    "sys.stdout.write('x')", "sys.stdout = None", "sys.stderr = None", "sys.stdout.close()",
    "sys.stdout = sys.stderr = open(os.devnull, 'w')", "os.chdir('/')", "os.chdir('folder')",
    "os.environ.clear()", "sys.setrecursionlimit(120)", "gc.disable()", "sys.argv = []",
    "sys.path.clear()", "warnings.simplefilter('error')", "warnings.warn('::error::w')",
    "logging.basicConfig(level=0); logging.error('logged')", "sys.excepthook = None",
    "torch.set_default_dtype(torch.float64)", "torch.set_default_device('meta')",
    "torch.set_grad_enabled(False)", "torch.manual_seed(0)", "random.seed(0)", "locale()",
    "atexit.register(print, 'at exit')",
    "threading.Thread(target=time.sleep, args=(600,)).start()",
    "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()",
    "signal.signal(signal.SIGINT, signal.SIG_IGN)",
    "builtins.print = None", "nn.Module.train = None", "sys.stderr.close()",
    "dict = list = None",
    "self.extra = nn.Linear(2, 2)", "self.register_buffer('more', torch.zeros(3))",
    "del self.layer", "self.layer = None", "self.layer.weight.data.zero_()", "self.forward = None",
    "self.layer.register_forward_hook(lambda *_: print('hooked'))", "self.eval()", "self.train()",
    "self.double()", "self.to('cuda')", "self.layer.weight.requires_grad_(False)",
    "self.layer.weight.grad = torch.ones(1)", "self.__class__ = nn.Identity", "self.calls += 1",
    "x.add_(1)", "x = x * x.mean().item()", "x = x.numpy()", "x = x.tolist()", "x = x.cuda()",
    "x = x.view(-1, 0)", "x = x.reshape(x.shape[0], 10**12)", "x = torch.zeros(float('nan'))",
    "x = torch.zeros(10**7, 10**7)", "x = torch.zeros(int(x.sum()))", "x = x[x > 0]",
    "x = torch.empty(-1)", "x = x[:, :, :0]", "x = x.unsqueeze(0).expand(10**6, *x.shape)",
    "assert (x > 0).all()", "x.sum().backward()", "torch.autograd.grad(x.sum(), x)",
    "x = torch.utils.checkpoint.checkpoint(self.layer, x, use_reentrant=False)",
    "x = torch.vmap(lambda y: y * 2)(x)", "x = torch.compile(lambda y: y + 1)(x)",
    "x = torch.jit.script(nn.Linear(224, 4))(x)", "with torch.no_grad(): x = x * 2",
    "with torch.inference_mode(): x = x * 2", "x = copy.deepcopy(self)(x)", "x = Twice.apply(x)",
    "for _ in range(300): x = x + 1", "x = torch.stack([x] * 50).sum(0)", "x.data_ptr()",
    "with open('/dev/full', 'w') as f: f.write('x'); f.flush()", "torch.load('none.pt')",
    "self.forward(x)", "x = self(x)", "x = x.half(); x = x.float()", "x = torch.fft.fft(x).real",
    "x.requires_grad_(); x = x * 1", "torch.cuda.synchronize()",
    "subprocess.run(['echo', 'child'])",
)  # fmt: skip
_METHODS = (
    "named_parameters", "parameters", "named_modules", "modules", "children", "named_children",
    "named_buffers", "state_dict", "train", "eval", "to", "apply", "_apply", "__repr__", "__len__",
    "__eq__", "__hash__", "__bool__", "__iter__", "__call__", "__getattr__", "__getattribute__",
    "__setattr__", "__deepcopy__", "__reduce_ex__", "extra_repr", "requires_grad_", "_get_name",
    "example_inputs", "example_input_array", "dummy_inputs", "pretrained_cfg", "config",
    "default_cfg", "patch_embed", "blocks", "__class__", "__dict__",
)  # fmt: skip
_LAYERS = (
    "nn.Linear(224, 4)", "nn.Sequential(nn.Linear(224, 8), nn.GELU(), nn.Linear(8, 4))",
    "nn.Conv2d(3, 4, 16, 16)", "nn.LazyLinear(4)", "nn.Identity()", "nn.Linear(224, 0)",
    "nn.Linear(10**7, 10**7)", "nn.LSTM(224, 4)", "nn.MultiheadAttention(224, 2)", "nested(60)",
    "nested(2000)", "nn.ModuleList([nn.Linear(2, 2)])", "nn.ModuleDict({'::error::a': nn.ReLU()})",
    "nn.ParameterList([nn.Parameter(torch.zeros(3))])", "nn.Embedding(10, 4)", "nn.BatchNorm2d(3)",
    "torch.jit.script(nn.Linear(224, 4))", "nn.DataParallel(nn.Linear(224, 4))", "nn.Dropout(0.5)",
    "nn.utils.parametrizations.weight_norm(nn.Linear(224, 4))", "None", "3", "lambda x: x",
    "nn.TransformerEncoderLayer(224, 2, batch_first=True)", "nn.Softmax(dim=9)", "nn.Module()",
    "nn.Linear(224, 4, dtype=torch.float16)", "nn.Linear(224, 4, dtype=torch.complex64)",
    "nn.Linear(224, 4, device='cpu')", "nn.Sequential(*[nn.Linear(224, 224)] * 40)",
)  # fmt: skip
_MADE = (
    "Odd()", "Odd()", "Odd()", "Odd()", "Odd(), '3x8x8'",
    "Odd(), {'x': torch.zeros(2, 3, 224, 224)}",
    "Odd(), (torch.zeros(1, 3, 224, 224),)", "Odd(), lambda batch: torch.zeros(batch, 3, 8, 224)",
    "Odd(), lambda batch: bad()", "Odd(), 3", "Odd(), Mute()", "Odd", "None", "Mute()", "Hostile()",
    "torch.jit.script(nn.Linear(224, 4))", "torch.jit.trace(nn.ReLU(), torch.zeros(1))", "iter([])",
    "torch.compile(Odd())", "nn.DataParallel(Odd())", "nn.Sequential(Odd(), Odd())", "Odd(), Odd()",
    "nn.Sequential(*[Odd() for _ in range(30)])", "nested(1500)", "[Odd()]", "bad()", "Odd().layer",
)  # fmt: skip
_BASE = """\
import asyncio, atexit, builtins, copy, gc, json, logging, os, random, signal, subprocess, sys
import threading, time, warnings
from collections import namedtuple
from dataclasses import dataclass
import torch
import torch.utils.checkpoint
from torch import nn

Named = namedtuple("Named", "first second")

@dataclass
class Data:
    value: object

class Mute(BaseException):
    def __str__(self):
        raise ValueError
    __repr__ = __str__

class Numb(Exception):
    def __str__(self):
        return 3

class Empty(Exception):
    __module__ = None

Empty.__name__ = ""

class Hostile:
    def __getattr__(self, name):
        raise ZeroDivisionError(name)
    def __repr__(self):
        return "\\x1b[2J\\n::error::x"

class Twice(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2
    @staticmethod
    def backward(ctx, gradient):
        return gradient * 2

def bad(*_, **__):
    raise ValueError("::error::bad")

def locale():
    import locale
    locale.setlocale(locale.LC_ALL, "C")

def nested(levels):
    model = nn.Linear(224, 4)
    for _ in range(levels):
        model = nn.Sequential(model)
    return model

def cyclic(x):
    found = [x]
    found.append(found)
    return found

def deep(x):
    for _ in range(5000):
        x = [x]
    return x

def loss(output, *_):
    return output.sum()
"""


def source(rng: Random) -> str:
    """A module of Python: ``make`` builds a module that is odd in one to three ways."""
    odd = [rng.choice((_forward, _forward, _init, _method, _top, _make)) for _ in range(_few(rng))]
    forward, init, methods, top, make = ([] for _ in range(5))
    places = {_forward: forward, _init: init, _method: methods, _top: top, _make: make}
    for each in odd:
        places[each].append(each(rng))
    layer = rng.choice(_LAYERS) if rng.random() < 0.4 else _LAYERS[0]
    made = rng.choice(_MADE) if rng.random() < 0.3 else _MADE[0]
    last = rng.choice(_RETURNED) if rng.random() < 0.3 else "self.layer(x)"
    kind = rng.choice(("return",) * 9 + ("yield", "raise"))
    if kind == "raise":
        last = rng.choice(_ERRORS)
    given = rng.choice(("x",) * 9 + ("*x", "x=None, **more", "x, y", ""))
    word = rng.choice(("def",) * 15 + ("async def",))
    name = rng.choice(("Odd", "Odd", "Odd", json.dumps("::error::n"), json.dumps("\x1b[31m")))
    lines = [
        _BASE,
        *top,
        "class Odd(nn.Module):",
        "    def __init__(self):",
        "        super().__init__()",
        "        self.calls = 0",
        f"        self.layer = {layer}",
        *(f"        {line}" for line in init),
        f"    {word} forward(self, {given}):",
        *(f"        {line}" for line in forward),
        f"        {kind} {last}",
        *methods,
        *([] if name == "Odd" else [f"Odd.__name__ = Odd.__qualname__ = {name}"]),
        "def make(**given):",
        *(f"    {line}" for line in make),
        f"    return {made}",
    ]
    return "\n".join(lines) + "\n"


def _few(rng: Random) -> int:
    return rng.choice((0, 1, 1, 1, 2, 3))


def _forward(rng: Random) -> str:
    return rng.choice(_STATEMENTS)


def _init(rng: Random) -> str:
    return rng.choice((*_STATEMENTS[:60], f"raise {rng.choice(_ERRORS)}"))


def _top(rng: Random) -> str:
    return rng.choice((*_STATEMENTS[:34], f"raise {rng.choice(_ERRORS)}", "def make(: pass"))


def _make(rng: Random) -> str:
    return rng.choice((*_STATEMENTS[:34], f"raise {rng.choice(_ERRORS)}", "make()"))


def _method(rng: Random) -> str:
    name = rng.choice(_METHODS)
    does = rng.choice(("raise", "raise", "return"))
    value = rng.choice(_ERRORS) if does == "raise" else rng.choice(("None", "3", "[]", "Hostile()"))
    decorated = "    @property\n" if rng.random() < 0.3 else ""
    return f"{decorated}    def {name}(self, *given, **more):\n        {does} {value}"


def command(rng: Random, factory: str) -> Sequence[str]:
    """A command that reads a module."""
    asked: Sequence[Callable[[], tuple[str, ...]]] = (
        lambda: ("report", factory),
        lambda: ("report", factory, "--json"),
        lambda: ("report", factory, "--mode", "train", "-b", "2", "--json"),
        lambda: ("report", factory, "--format", rng.choice(("csv", "markdown", "html"))),
        lambda: ("report", factory, "-o", f"out{rng.randrange(9)}.json"),
        lambda: ("report", factory, "--input", rng.choice(("3x8x8", "x=3x224x224:int64", "0", ""))),
        lambda: ("report", factory, "--loss", rng.choice((f"{factory[:-5]}:loss", "x:y", "bad"))),
        lambda: ("report", f"{factory}(size=3)"),
        lambda: ("compare", factory, "vit_tiny_patch16_224"),
        lambda: ("fit", factory, "-g", "l4", "--json"),
        lambda: ("trace", factory, "-o", f"out{rng.randrange(9)}.json"),
        lambda: ("explain", factory, "params"),
        lambda: ("summary", factory),
        lambda: ("plan", factory, "--samples", "1M", "-g", "l4", "--gpus", "1"),
    )
    return rng.choice(asked)()
