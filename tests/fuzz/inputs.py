"""Command lines over all commands and flags, and mutated files of every kind that is read."""

import csv
import io
import json
import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from zlib import crc32

import click
import modules

from vitcost.cli import COMMANDS
from vitcost.config.fields import Pair
from vitcost.config.scenario import CHOICES
from vitcost.config.vit_config import FIELDS
from vitcost.costs.quantities import EXPLAINED, QUANTITIES
from vitcost.hardware.cards import CARDS
from vitcost.render import FORMATS
from vitcost.zoo import names

__all__ = ["KINDS", "Case", "cases", "lay_out"]

Random: TypeAlias = random.Random

TINY = "vit_tiny_patch16_224"


class Case(NamedTuple):
    """A command line, the kind of input that it is, and the files that it reads; ``alone``: it
    may leave its process as no other input should find it."""

    kind: str
    args: tuple[str, ...]
    files: tuple[tuple[str, bytes], ...] = ()
    alone: bool = False


# names that a terminal, a browser, a spreadsheet or a job of CI could take for a command
HOSTILE = (
    "::error::x",
    " ::add-mask::x",
    "::set-output name=a::b%0A",
    "##[error]x",
    "a ##[add-path]b",
    "##vso[task.complete result=Failed]x",
    "\x1b]0;title\x07\x1b[2J",
    "\x9b31m",
    "a\nb\r::error::c",
    "\u2028::error::x",
    "\u202eevil\u2066",
    "=HYPERLINK(1)",
    "\t=1+1",
    "＝1+1",
    "| a |\n\n# b",
    "![x](http://a.b/c) <b> `c` [d](e)",
    "</td></style><script>alert(1)</script>",
    "'\"><img src=x onerror=alert(1)>",
    "[red]bold[/red] :smile:",
    "{x!r:>1000000000}",
    "%s%n%1000000000d",
    "$(touch x)`touch x`",
    "\ufeffname",
    "\ud83d\ude00 e\u0301",
    "x" * 3000,
    "",
    " ",
    "-",
    "--",
    "--json",
    "@x",
    "../../etc/passwd",
    "/dev/zero",
    "NaN",
    "null",
    "0x10",
    "１２",
)
NUMBERS = (
    "0", "1", "2", "3", "7", "8", "12", "16", "64", "197", "224", "1000", "65536", "1000000",
    "1000000000", "1000000001", "-1", "-0", "+3", "1.5", "0.1", "1e3", "1e400", "-1e-400", "nan",
    "inf", "-inf", "1_000", "0x10", "٣", "9" * 30, "9" * 5000, "", "x", "1,2", "1x2", "2x", "3x3x3",
    "none", "true",
)  # fmt: skip
SIZES = ("24 GiB", "24GB", "5 %", "100 %", "-1 %", "1e400 GiB", "3d", "36 h", "0 s", "1e999d",
         "50 GB/s", "87 M", "1.28M", "1e31", "0", "free", "5%%", " ")  # fmt: skip
OUTPUTS = (
    "out.txt", "out.json", "out.csv", "out.md", "out.html", "out.parquet", "out.toml", "out",
    "folder", "none/x.txt", "/dev/null", "/dev/full", "loop", "loop.txt", "x" * 300, "", ".", "/",
    "a\nb.txt", "::error::x.txt",
)  # fmt: skip
PICTURES = ("p.png", "p.svg", "p.pdf", "loop.svg", "none/p.svg", "/dev/full", "")
# what stands in the folder that commands are run in
STANDING = ("config.json", "own.toml", "saved.json", "trace.json", "budgets.toml", "base.json",
            "cards.toml", "calibration.toml", "rows.csv", "folder", "fifo.json", "fifo.toml",
            "fifo.csv", "loop", "loop.json", "zero.json", "zero.toml", "none.json")  # fmt: skip
# commands that import torch as soon as a model is real
_WITH_TORCH = {"check", "trace"}


# command lines


def command_line(rng: Random) -> Case:
    """A command with some of its flags, most of them as they are meant."""
    name = rng.choice(
        [*COMMANDS] * 6 + ["report", "compare", "fit", "plan", "serve", "budget"] * 6 + ["nosuch"]
    )
    if name not in COMMANDS:
        return Case("command lines", (rng.choice(("", name, *HOSTILE[:6])), TINY))
    own = _parameters(name)
    args: list[str] = []
    for param in own:
        if isinstance(param, click.Argument):
            args += _arguments(rng, name, param)
    # a server waits for its user
    options = [p for p in own if isinstance(p, click.Option) and p.name != "opened"]
    for _ in range(min(int(rng.expovariate(0.6)), 8) if options else 0):
        option = rng.choice(options[:25] if rng.random() < 0.6 else options)
        args += _flag(rng, option)
    rng.shuffle(args) if rng.random() < 0.02 else None
    if rng.random() < 0.01:
        args.insert(rng.randrange(len(args) + 1), _text(rng))
    return Case("command lines", (name, *args))


@cache
def _parameters(name: str) -> tuple[click.Parameter, ...]:
    command = import_module(f"vitcost.cli.{name}_command").command
    rare = getattr(command, "rare", None)
    return (*command.params, *(rare() if rare else ()))


def _arguments(rng: Random, command: str, param: click.Argument) -> list[str]:
    many = rng.choice((0, 1, 1, 2, 2, 3)) if param.nargs == -1 else 1
    if rng.random() < 0.05:
        return []
    if param.name == "quantity":
        return [rng.choice((*EXPLAINED, "params", _text(rng)))]
    if param.name in ("model", "models"):
        real = command not in _WITH_TORCH
        return [_model(rng, real) for _ in range(many)]
    if param.name == "query":
        return [rng.choice(("huge", "vit_*_384", "h100", "*", "[", "", _text(rng)))]
    if param.name == "files":
        return [rng.choice(("rows.csv", *STANDING, _text(rng))) for _ in range(many)]
    return [rng.choice(("report", "fit", "bash", "zsh", "gpus", _text(rng)))]


def _model(rng: Random, real: bool) -> str:
    if real and rng.random() < 0.85:
        known = rng.choice(_names())
        tower = f"{known}:{rng.choice(('vision', 'text', 'x', ''))}"
        return rng.choice((TINY, TINY, "vit_base_patch16_224", "gpt2", "ViT-B-32", known, tower))
    if real and rng.random() < 0.5:
        return rng.choice(STANDING)
    return rng.choice(("nosuch:factory", "a.b:c", "resnet5", "vit_bse", _text(rng)))


@cache
def _names() -> tuple[str, ...]:
    return tuple(names())


def _text(rng: Random) -> str:
    if rng.random() < 0.7:
        return rng.choice(HOSTILE)
    return "".join(
        chr(rng.choice((rng.randrange(1, 128), rng.randrange(1, 0xD800))))
        for _ in range(rng.randrange(12))
    )


def _flag(rng: Random, option: click.Option) -> list[str]:
    flag = rng.choice((*option.opts, *option.secondary_opts))
    if option.is_flag or option.secondary_opts:
        return [flag]
    value = _value(rng, option)
    return [f"{flag}={value}"] if flag.startswith("--") and rng.random() < 0.3 else [flag, value]


def _value(rng: Random, option: click.Option) -> str:
    """A value as the flag wants it, or as it does not."""
    name = option.name or ""
    if rng.random() < 0.05:
        return rng.choice((_text(rng), rng.choice(NUMBERS), rng.choice(SIZES)))
    if name in CHOICES:
        return rng.choice(CHOICES[name])
    if name in _VALUES:
        return _VALUES[name](rng)
    if name in FIELDS:
        kind, field = FIELDS[name]
        if field.choices:
            return rng.choice(field.choices)
        if kind == Pair:
            return rng.choice(("224", "256x192", "32", "0", "1000000", "223"))
    return rng.choice(NUMBERS[:15])


def _vary(rng: Random) -> str:
    field = rng.choice(("batch", "batch", "depth", "img_size", "patch_size", "num_classes",
                        "precision", "embed_dim", "reg_tokens", "zero", "seq_len",
                        "nosuch"))  # fmt: skip
    low, high = rng.choice((1, 2, 16, 224)), rng.choice((4, 64, 1000, 10**9, 10**18))
    step = rng.choice(("+1", "+16", "x2", "x1", "+0", "x10", "-1"))
    if field in ("reg_tokens", "seq_len", "zero"):
        high = rng.choice((3, 10**9))
    values = rng.choice((
        f"{low}:{high}:{step}", "1,2,4", "224,384", "fp32,amp-bf16", "0,1,2,3", "1:4:+1,7", "", ":",
        ",,", "1:", "none", rng.choice(NUMBERS),
    ))  # fmt: skip
    return f"{field}{rng.choice(('=', '=', '=', '==', ''))}{values}"


def _quantities(rng: Random) -> str:
    return ",".join(rng.choice((*QUANTITIES, "nosuch")) for _ in range(rng.choice((1, 2, 2, 3))))


def _card(rng: Random) -> str:
    card = rng.choice([*CARDS])
    figure = rng.choice(("memory_gb=12", "power_w=-1", "bf16_tflops=1e30", "like=l4", "x=1", "="))
    return rng.choice((card, card, "l4", "h100-sxm", "mine", "h100", f"{card},{figure}"))


_VALUES: Mapping[str, Callable[[Random], str]] = {
    "output": lambda rng: rng.choice(OUTPUTS),
    "file": lambda rng: rng.choice(OUTPUTS),
    "plot": lambda rng: rng.choice(PICTURES),
    "format": lambda rng: rng.choice((*FORMATS, "parquet", "xml")),
    "vary": _vary,
    "quantities": _quantities,
    "pareto": _quantities,
    "gpu": _card,
    "gpu_file": lambda rng: rng.choice(("cards.toml", *STANDING)),
    "calibration": lambda rng: rng.choice(("calibration.toml", *STANDING)),
    "anchor": lambda rng: rng.choice(("vit_tiny_patch16_224=3000", "x=1", "=", "x=nan")),
    "config": lambda rng: rng.choice(("budgets.toml", *STANDING)),
    "baseline": lambda rng: rng.choice(("base.json", *STANDING)),
    "throughput": lambda rng: rng.choice(("rows.csv", *STANDING)),
    "checkpointing": lambda rng: rng.choice(("none", "selective", "block", "every:3", "every:0")),
    "freeze": lambda rng: rng.choice(("none", "backbone", "first:3", "all-but-last:2", "first:-1")),
    "lora": lambda rng: rng.choice(("0", "4", "100000")),
    "lora_layers": lambda rng: rng.choice(("qkv,proj", "fc1,fc2", "nosuch", ",")),
    "zero": lambda rng: rng.choice(("0", "1", "2", "3", "4")),
    "ranks": lambda rng: rng.choice(("1", "8", "1000000", "0")),
    "samples": lambda rng: rng.choice(("384M", "1", "1e30", "0")),
    "deadline": lambda rng: rng.choice(SIZES),
    "network": lambda rng: rng.choice(SIZES),
    "reserve": lambda rng: rng.choice(SIZES),
    "largest": lambda rng: rng.choice(("img_size", "depth", "width")),
    "sample": lambda rng: rng.choice(("1", "5", "1000", "10000000000")),
    "depth": lambda rng: rng.choice(("1", "12", "100000", "0")),
    "num_kv_heads": lambda rng: rng.choice(("1", "3", "1,3", ",".join(["1", "3"] * 2000))),
    "model_option": lambda rng: _model(rng, True),
    "tower": lambda rng: rng.choice(("vision", "text", "both", "")),
    "input": lambda rng: rng.choice(("3x224x224", "x=3x8x8:int64", "ids=77:int64", "0", "=", ":")),
    "loss": lambda rng: rng.choice(("traced:small", "nosuch:loss", "x", "os:getcwd")),
    "columns": lambda rng: rng.choice(("params", "model,FLOPs", "nosuch", ",", _text(rng))),
    "levels": lambda rng: rng.choice(("0", "1", "9", "10", "-1")),
    "software": lambda rng: rng.choice(("2.5", "2.13", "tensorrt", "1.9", "x", "9" * 30)),
    "price": lambda rng: rng.choice(
        ("2", "l4=0.8", "l4=0.8/h", "$2/h", "0", "-1", "nan", "1e999", "prices.toml", *STANDING)
    ),
    "rate": lambda rng: rng.choice(("5000/s", "20M/d", "300/min", "0", "-1/s", "1e30/s", "1/y")),
    "slo": lambda rng: rng.choice(("50ms", "1us", "2 h", *SIZES)),
    "percentile": lambda rng: rng.choice(("99", "50", "100", "0", "99.99 %", "nan", "101")),
    "utilization": lambda rng: rng.choice(("70%", "100 %", "0", "1.5", "1e-300", "nan")),
    "efficiency": lambda rng: rng.choice(("0.4", "1", "0", "nan", "2", "1e-300")),
    "require": lambda rng: rng.choice(("1", "0", "1000000000", "-1")),
    "head": lambda rng: rng.choice(("lm", "none", "projection", "x")),
    "gpus": lambda rng: rng.choice(("1", "8", "1024", "131072", "0", "7", "9" * 30)),
    "nodes": lambda rng: rng.choice(("1", "2", "16384", "0", "9" * 30)),
    "tensor_parallel": lambda rng: rng.choice(("1", "2", "3", "1000000", "0")),
    "pipeline_parallel": lambda rng: rng.choice(("1", "2", "3", "1000000", "0")),
}


# files


VIT = {
    "model_type": "vit", "hidden_size": 192, "num_hidden_layers": 3, "num_attention_heads": 3,
    "intermediate_size": 768, "image_size": 224, "patch_size": 16, "num_channels": 3,
    "hidden_act": "gelu", "qkv_bias": True, "layer_norm_eps": 1e-12,
    "id2label": {"0": "a", "1": "b"}, "architectures": ["ViTForImageClassification"],
}  # fmt: skip
CLIP = {
    "model_type": "clip", "projection_dim": 64,
    "vision_config": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
                      "num_attention_heads": 2, "image_size": 32, "patch_size": 8},
    "text_config": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
                    "num_attention_heads": 2, "vocab_size": 100, "max_position_embeddings": 16},
}  # fmt: skip
DINO = {
    "model_type": "dinov2", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "mlp_ratio": 4, "image_size": 56, "patch_size": 14, "use_swiglu_ffn": False,
}  # fmt: skip
TIMM = {
    "architecture": TINY, "num_classes": 5, "num_features": 192, "global_pool": "token",
    "pretrained_cfg": {"input_size": [3, 224, 224]},
}  # fmt: skip
OPEN_CLIP = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16, "head_width": 32},
    "text_cfg": {"context_length": 16, "vocab_size": 100, "width": 64, "heads": 2, "layers": 2},
}
OWN = {
    "img_size": [32, 48], "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 2,
    "mlp_ratio": 4, "num_classes": 10,
}  # fmt: skip
OWN_TOML = "base = 'vit_tiny_patch16_224'\nnum_classes = 5\nimg_size = [32, 48]\nqkv_bias = false\n"
BUDGETS = """\
[project]
name = "x"
[[tool.vitcost.budget]]
name = "small"
model = "vit_tiny_patch16_224"
batch = 2
params = "6 M"
train_memory = "1 GiB"
flops = "baseline"
tolerance = "1 %"
[[tool.vitcost.budget]]
model = "own.toml"
params = 6000000
level = "warn"
[tool.vitcost.gpu.mine]
like = "l4"
power_w = 60
"""
CARDS_TOML = """\
[gpu.mine]
bf16_tflops = 100
fp32_tflops = 30.5
bandwidth_gbps = 500
memory_gb = 10
[gpu.capped]
like = "h100-sxm"
power_w = 350
"""
PRICES = """\
[price]
l4 = 0.8
h100-sxm = "2.5/h"
mine = "$1.20/h"
"""
ROWS = (
    ["model", "gpu", "img_size", "batch_size", "samples_per_sec", "precision", "mode"],
    ["vit_tiny_patch16_224", "l4", "224", "256", "3000", "amp", "infer"],
    ["vit_small_patch16_224", "l4", "224", "256", "1500", "amp", "infer"],
    ["vit_base_patch16_224", "l4", "224", "256", "600", "amp", "infer"],
    ["vit_large_patch16_224", "l4", "224", "64", "200", "amp", "infer"],
    ["resnet50", "l4", "224", "64", "200", "amp", "infer"],
)
_ODD_JSON: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 1.5, -0.0, 1e308, 10**9, 10**18, 10**30, 10**400, "", "x",
    "1", "none", "gelu", [], [1], [1, 2], [[]], {}, {"a": 1}, "x" * 5000, *HOSTILE[:12],
)  # fmt: skip
_ODD_TOML = (
    "0", "-1", "1e400", "nan", "inf", "0x" + "f" * 5000, "9" * 30, "true", '""', '"x"', "[]",
    "{}", "[1, 2]", "{a = 1}", "1979-05-27", '"24 GiB"', '"baseline"', '"5 %"', "'''x'''", "[",
    '"\\u0007::error::"', '"##[error]x"', "", "x", '"' + "x" * 5000 + '"',
)  # fmt: skip


def mutated_json(rng: Random, data: Any) -> bytes:
    """JSON with values replaced, keys gone, new or twice; now and then broken text."""
    data = json.loads(json.dumps(data))
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        _mutate(rng, data)
    if rng.random() < 0.05:
        depth = rng.choice((5, 50, 5000))
        return (b'{"a":' * depth + json.dumps(data).encode() + b"}" * depth)[: 2**20]
    text = json.dumps(data, ensure_ascii=rng.random() < 0.5)
    return (
        _broken(rng, text.encode("utf-8", "surrogatepass"))
        if rng.random() < 0.25
        else text.encode("utf-8", "replace")
    )


def _mutate(rng: Random, data: Any) -> None:
    places = list(_places(data))
    if not places:
        return
    inside, key = rng.choice(places)
    if isinstance(inside, list):
        inside[key] = deepcopy(rng.choice(_ODD_JSON))
        return
    move = rng.random()
    if move < 0.55:
        old = inside[key]
        number = isinstance(old, int) and not isinstance(old, bool)
        near = [old + 1, old - 1, old * 2, -old, old * 10**6] if number else []
        inside[key] = deepcopy(rng.choice((*near, *near, *_ODD_JSON)))
    elif move < 0.7:
        del inside[key]
    elif move < 0.85:
        other, of = rng.choice(places)
        inside[rng.choice((str(of), f"{key}s", *HOSTILE[:8]))] = deepcopy(other[of])
    else:
        inside[key] = [inside[key]]


def _places(data: Any) -> Iterator[tuple[Any, Any]]:
    items = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in list(items):
        yield data, key
        if isinstance(value, dict | list):
            yield from _places(value)


def _broken(rng: Random, content: bytes) -> bytes:
    """Bytes gone, other or twice."""
    found = bytearray(content)
    for _ in range(rng.choice((1, 1, 3, 10))):
        at = rng.randrange(len(found) + 1)
        move = rng.randrange(5)
        if move == 0:
            del found[at : at + rng.choice((1, 4, 100))]
        elif move == 1:
            found[at:at] = rng.choice(
                (b"\0", b"\xff", b"[" * 500, b'"', b"\n", b"{", b",", b"\xef\xbb\xbf")
            )
        elif move == 2 and found:
            found[at % len(found)] = rng.randrange(256)
        elif move == 3:
            found[at:at] = found[at : at + 50]
        else:
            del found[at:]
    return bytes(found)


def mutated_toml(rng: Random, text: str) -> bytes:
    """TOML with values, keys and headers replaced, gone or twice."""
    lines = text.splitlines()
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(lines)) if lines else 0
        key, equals, _ = (lines[at] if lines else "").partition("=")
        move = rng.randrange(6)
        if move <= 1 and equals:
            lines[at] = f"{key}= {rng.choice(_ODD_TOML)}"
        elif move == 2:
            lines[at : at + 1] = []
        elif move == 3:
            lines[at:at] = lines[at : at + rng.choice((1, 5))]
        elif move == 4:
            name = rng.choice(
                (
                    json.dumps(rng.choice(HOSTILE)),
                    "params",
                    "depth",
                    "a." * 40 + "a",
                    "gpu",
                    "model",
                )
            )
            lines.insert(at, f"{name} = {rng.choice(_ODD_TOML)}")
        elif lines:
            lines[at] = lines[at].replace(
                "mine", rng.choice(('"::error::x"', '"##[a]b"', "'\u202e'"))
            )
    content = "\n".join(lines).encode("utf-8", "surrogatepass")
    return _broken(rng, content) if rng.random() < 0.2 else content


def mutated_csv(rng: Random) -> bytes:
    rows = [list(row) for row in ROWS]
    for _ in range(rng.choice((1, 1, 2, 5))):
        row = rng.choice(rows)
        if not row:
            continue
        at = rng.randrange(len(row))
        move = rng.randrange(5)
        if move <= 2:
            row[at] = rng.choice((*NUMBERS, *HOSTILE, "infer", "train", "nchw", "amp"))
        elif move == 3:
            del row[at]
        else:
            row.insert(at, rng.choice(HOSTILE))
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    content = out.getvalue().encode("utf-8", "surrogatepass")
    return _broken(rng, content) if rng.random() < 0.2 else content


class _Bases(NamedTuple):
    """The files that a real run of the commands wrote."""

    saved: Any
    hybrid: Any
    trace: Any
    baseline: Any
    calibration: str


@cache
def _bases() -> _Bases:
    folder = Path(os.environ["VITCOST_FUZZ"])
    saved = ("saved.json", "hybrid.json", "trace.json", "base.json")
    read = [json.loads((folder / name).read_text()) for name in saved]
    return _Bases(*read, (folder / "calibration.toml").read_text())


def _asked(rng: Random, path: str) -> tuple[str, ...]:
    """A command that reads a model from a file."""
    how = rng.choice(((), (), ("--json",), ("--format", rng.choice([*FORMATS]))))
    return rng.choice((
        ("report", path, *how),
        ("report", path, "-b", "8", "--mode", "train", "-g", "l4", *how),
        ("fit", path, "-g", "l4", "--mode", "train", *how),
        ("compare", path, TINY, *how),
        ("summary", path),
        ("plan", path, "--samples", "1M", "-g", "l4", "--gpus", "1", *how),
        ("serve", path, "--rate", "9/s", "-g", "l4", "-b", "8", *how),
        ("report", path, "--num-classes", "7", "--img-size", "64", *how),
    ))  # fmt: skip


def model_file(rng: Random) -> Case:
    name = f"m{rng.randrange(10**9)}.json"
    base = rng.choice((VIT, CLIP, DINO, TIMM, OPEN_CLIP, OPEN_CLIP["vision_cfg"], OWN))
    return Case("models of files", _asked(rng, name), ((name, mutated_json(rng, base)),))


def own_toml(rng: Random) -> Case:
    name = f"m{rng.randrange(10**9)}.toml"
    return Case("models of files", _asked(rng, name), ((name, mutated_toml(rng, OWN_TOML)),))


def saved_report(rng: Random) -> Case:
    name = f"s{rng.randrange(10**9)}.json"
    data = mutated_json(rng, rng.choice((_bases().saved, _bases().saved, _bases().hybrid)))
    more = rng.choice(((), ("--why",), ("--json",), ("--format", rng.choice([*FORMATS]))))
    asked = ("compare", name, rng.choice((TINY, "saved.json")), *more)
    return Case(
        "saved reports", rng.choice((asked, asked, asked, _asked(rng, name))), ((name, data),)
    )


def trace_file(rng: Random) -> Case:
    """A trace with values replaced, and mostly with the checksum that belongs to them."""
    name = f"t{rng.randrange(10**9)}.json"
    content = mutated_json(rng, _bases().trace)
    if rng.random() < 0.85:
        try:
            data = json.loads(content)
            told = {key: value for key, value in data.items() if key != "checksum"}
            text = json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode()
            content = json.dumps({**told, "checksum": crc32(text)}).encode()
        except (ValueError, AttributeError, RecursionError):
            pass
    asked = rng.choice(
        (
            _asked(rng, name),
            ("report", name, "-b", rng.choice(NUMBERS[:15])),
            ("fit", name, "-g", "l4"),
        )
    )
    return Case("traces", asked, ((name, content),))


def budgets(rng: Random) -> Case:
    name = f"b{rng.randrange(10**9)}.toml"
    more = rng.choice(((), (), ("--json",), ("--why",), ("--format", rng.choice([*FORMATS]))))
    return Case(
        "budgets", ("budget", "--config", name, *more), ((name, mutated_toml(rng, BUDGETS)),)
    )


def baseline(rng: Random) -> Case:
    name = f"l{rng.randrange(10**9)}.json"
    more = rng.choice(((), ("--json",), ("--why",), ("--format", rng.choice([*FORMATS]))))
    args = ("budget", "--config", "budgets.toml", "--baseline", name, *more)
    return Case("baselines", args, ((name, mutated_json(rng, _bases().baseline)),))


def cards(rng: Random) -> Case:
    name = f"c{rng.randrange(10**9)}.toml"
    how = rng.choice(((), ("--json",), ("--format", rng.choice([*FORMATS]))))
    args = rng.choice((
        ("gpus", "--gpu-file", name, "mine", *how),
        ("gpus", "--gpu-file", name, "-q"),
        ("report", TINY, "-g", "mine", "--gpu-file", name, *how),
        ("fit", TINY, "-g", "mine", "--gpu-file", name, *how),
        ("plan", TINY, "--samples", "1M", "-g", "mine", "--gpus", "1", "--gpu-file", name, *how),
    ))  # fmt: skip
    return Case("cards", args, ((name, mutated_toml(rng, CARDS_TOML)),))


def prices(rng: Random) -> Case:
    name = f"p{rng.randrange(10**9)}.toml"
    how = rng.choice(((), ("--json",), ("--format", rng.choice([*FORMATS]))))
    args = rng.choice((
        ("serve", TINY, "--rate", "500/s", "--slo", "50ms", "-g", "l4", "--price", name, *how),
        ("plan", TINY, "--samples", "1M", "-g", "l4", "--gpus", "1", "--price", name, *how),
    ))  # fmt: skip
    return Case("prices", args, ((name, mutated_toml(rng, PRICES)),))


def calibration(rng: Random) -> Case:
    name = f"k{rng.randrange(10**9)}.toml"
    args = (
        "report",
        TINY,
        "-g",
        "l4",
        "--calibration",
        name,
        "-b",
        "256",
        "--precision",
        "amp-fp16",
    )
    return Case("calibrations", args, ((name, mutated_toml(rng, _bases().calibration)),))


def measurements(rng: Random) -> Case:
    name = f"r{rng.randrange(10**9)}.csv"
    how = rng.choice(((), ("--json",), ("--format", rng.choice([*FORMATS]))))
    args = rng.choice((
        ("calibrate", name, *how), ("calibrate", name, "-g", "l4", *how),
        ("check", "--throughput", name, *how), ("check", "--throughput", name, "--held-out", *how),
    ))  # fmt: skip
    return Case("measurements", args, ((name, mutated_csv(rng)),))


def hostile_names(rng: Random) -> Case:
    """A hostile name in each file that has names, and as the name of a file, in every format."""
    text = rng.choice(HOSTILE)
    how = ("--format", rng.choice([*FORMATS]))
    written = json.dumps(text, ensure_ascii=rng.random() < 0.5)
    number = rng.randrange(10**9)
    file = f"n{number}"
    kind = rng.randrange(5)
    if kind == 0:
        toml = BUDGETS.replace('"small"', written).replace('"6 M"', '"1 M"')
        return Case(
            "hostile names",
            ("budget", "--config", f"{file}.toml", *how),
            ((f"{file}.toml", toml.encode("utf-8", "replace")),),
        )
    if kind == 1:
        toml = CARDS_TOML.replace("gpu.mine", f"gpu.{written}")
        args = rng.choice((("gpus", *how), ("gpus", "-q"), ("fit", TINY, *how)))
        return Case(
            "hostile names",
            (*args, "--gpu-file", f"{file}.toml"),
            ((f"{file}.toml", toml.encode("utf-8", "replace")),),
        )
    if kind == 2:
        data = json.loads(json.dumps(_bases().saved))
        data["model"]["name"] = data["model"]["source"] = text
        content = json.dumps(data).encode()
        return Case(
            "hostile names", ("compare", f"{file}.json", TINY, *how), ((f"{file}.json", content),)
        )
    if kind == 3:
        rows = io.StringIO()
        csv.writer(rows).writerows([*ROWS, [text, text, text, text, text, text, text]])
        return Case(
            "hostile names",
            ("calibrate", f"{file}.csv", *how),
            ((f"{file}.csv", rows.getvalue().encode("utf-8", "replace")),),
        )
    # a file system has no half of a pair of surrogates
    whole = text.encode("utf-8", "replace").decode()
    name = f"{whole.replace('/', '_').replace(chr(0), '')[:200]}{number}.json"
    return Case("hostile names", ("report", f"./{name}", *how), ((name, json.dumps(OWN).encode()),))


def odd_module(rng: Random) -> Case:
    name = f"odd{rng.randrange(10**9)}"
    content = modules.source(rng).encode("utf-8", "replace")
    args = tuple(modules.command(rng, f"{name}:make"))
    return Case("modules", args, ((f"{name}.py", content),), alone=True)


TRACED = """\
from torch import nn

def small():
    return nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.Flatten(), nn.Linear(16, 8), nn.GELU())
"""

# a kind of input, and how many of a hundred it is
KINDS: Mapping[str, tuple[Callable[[Random], Case], int]] = {
    "command lines": (command_line, 36),
    "models of files": (model_file, 16),
    "models of TOML": (own_toml, 4),
    "saved reports": (saved_report, 9),
    "traces": (trace_file, 6),
    "budgets": (budgets, 7),
    "baselines": (baseline, 4),
    "cards": (cards, 4),
    "calibrations": (calibration, 2),
    "prices": (prices, 1),
    "measurements": (measurements, 3),
    "hostile names": (hostile_names, 5),
    "modules": (odd_module, 3),
}


def cases(seed: int, count: int, kinds: Iterable[str] = KINDS) -> Iterator[Case]:
    """So many inputs; the same seed gives the same ones."""
    rng = random.Random(seed)
    makers = [
        maker for name, (maker, share) in KINDS.items() if name in kinds for _ in range(share)
    ]
    for _ in range(count):
        yield rng.choice(makers)(rng)


def lay_out(folder: Path, run: Callable[..., Any]) -> None:
    """The files that commands find: whole ones, and whatever else may stand at a path.

    ``run`` runs a command line in the folder, which writes a report, a baseline and constants.
    """
    os.environ["VITCOST_FUZZ"] = str(folder)
    (folder / "folder").mkdir()
    for suffix in ("json", "toml", "csv"):
        os.mkfifo(folder / f"fifo.{suffix}")
    for name in ("loop", "loop.json", "loop.svg", "loop.txt"):
        (folder / name).symlink_to(folder / f"{name}.other")
        (folder / f"{name}.other").symlink_to(folder / name)
    for name in ("zero.json", "zero.toml"):
        (folder / name).symlink_to("/dev/zero")
    (folder / "config.json").write_text(json.dumps(VIT))
    (folder / "own.toml").write_text(OWN_TOML)
    (folder / "budgets.toml").write_text(BUDGETS)
    (folder / "cards.toml").write_text(CARDS_TOML)
    (folder / "prices.toml").write_text(PRICES)
    with (folder / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows(ROWS)
    (folder / "traced.py").write_text(TRACED)
    for args in (
        ("trace", "traced:small", "--input", "3x8x8", "-o", "trace.json"),
        ("report", TINY, "-g", "l4", "-o", "saved.json"),
        ("report", "vit_tiny_r_s16_p8_224", "-o", "hybrid.json"),
        ("budget", "--config", "budgets.toml", "--baseline", "base.json", "--update"),
        ("calibrate", "rows.csv", "-g", "l4", "-o", "calibration.toml"),
    ):
        run(*args)
