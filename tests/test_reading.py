"""Every file that is read: one guarded reader, whatever stands at the path."""

import ast
import gzip
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from limited import limited

import vitcost
from vitcost import ConfigError, NotCovered, VitcostError, check_throughput
from vitcost.hardware.calibrate import load_calibrations
from vitcost.hardware.measured_rows import read as read_measurements
from vitcost.hardware.specs import load_cards
from vitcost.outside.reading import (
    BASELINE,
    BUDGETS,
    MODEL,
    parse_json,
    parse_toml,
    read_json,
    read_text,
)
from vitcost.planner.budgets import baseline
from vitcost.planner.budgets.declared import read_budgets
from vitcost.planner.compare import compare
from vitcost.planner.prices import prices
from vitcost.traced.file import read as read_trace
from vitcost.zoo import resolve

# every file that a command reads: the function that reads it, and its suffix
READERS: Mapping[str, tuple[Callable[[str], Any], str]] = {
    "model": (resolve, ".json"),
    "model.toml": (resolve, ".toml"),
    "saved": (compare, ".json"),
    "budgets": (read_budgets, ".toml"),
    "baseline": (baseline.read, ".json"),
    "cards": (load_cards, ".toml"),
    "calibration": (load_calibrations, ".toml"),
    "measurements": (read_measurements, ".csv"),
    "prices": (lambda path: prices([path], {}), ".toml"),
    "trace": (read_trace, ".json"),
}
CARD = "[gpu.mine]\nbf16_tflops = 100\n"


def fifo(path: Path) -> None:
    os.mkfifo(path)


def zeros(path: Path) -> None:
    path.symlink_to("/dev/zero")


def huge(path: Path) -> None:
    # a hole, which takes no room
    with path.open("wb") as file:
        file.truncate(10**12)


def directory(path: Path) -> None:
    path.mkdir()


def loop(path: Path) -> None:
    other = path.with_name("other")
    other.symlink_to(path)
    path.symlink_to(other)


def latin(path: Path) -> None:
    path.write_bytes('{"a": "é"}'.encode("latin-1"))


def bomb(path: Path) -> None:
    path.write_bytes(gzip.compress(b" " * 50_000_000))


def cut(path: Path) -> None:
    path.write_bytes(gzip.compress(os.urandom(1000))[:-200])


ODD: Mapping[Callable[[Path], None], str] = {
    fifo: "is not a regular file",
    zeros: "is not a regular file",
    huge: "larger than [0-9,]+ bytes, so no ",
    directory: "is a directory",
    loop: "cannot be read: Too many levels of symbolic links",
    latin: "not UTF-8 at byte 7",
    bomb: "larger than [0-9,]+ bytes, so no ",
    cut: "not gzip",
}


@pytest.mark.parametrize("make", ODD, ids=lambda make: str(make.__name__))
@pytest.mark.parametrize("name", READERS)
def test_an_odd_file_is_a_message(name: str, make: Callable[[Path], None], tmp_path: Path) -> None:
    read, suffix = READERS[name]
    path = tmp_path / f"x{suffix}"
    make(path)
    started = time.process_time()
    with pytest.raises(ConfigError, match=ODD[make]) as caught:
        read(str(path))
    assert str(path) in str(caught.value)
    assert time.process_time() - started < 1


# texts that a parser takes long for, or that no message could show
TOML = {
    "dots": "a." * 60_000 + "a = 1",
    "spaced dots": "a . " * 60_000 + "a = 1",
    "quoted dots": '"".' * 60_000 + "a = 1",
    "a header of dots": "[" + "a." * 60_000 + "a]",
    "an inline table of dots": "x = {" + "a." * 60_000 + "a = 1}",
    "nested": "a = " + "[" * 30_000,
    "nested tables": "a = " + "{a=" * 30_000,
    "nan": "a = nan",
    "twice": "a = 1\na = 2",
    "long": "a = " + "9" * 5000,
    "hexadecimal": "a = 0x" + "f" * 50_000,
}
JSON = {
    "nested": '{"a": ' + "[" * 500_000,
    "nested tables": '{"a":' * 200_000,
    "nan": '{"a": NaN}',
    "infinite": '{"a": 1e999}',
    "twice": '{"a": 1, "a": 2}',
    "long": '{"a": ' + "9" * 5000 + "}",
    "cut": '{"a": [1, ',
    "a list": "[1]",
    "blank": " \n",
}
TEXTS = {".toml": TOML, ".json": JSON}


@pytest.mark.parametrize(
    ("name", "text"),
    [(name, text) for name, (_, suffix) in READERS.items() for text in TEXTS.get(suffix, {})],
)
def test_an_odd_text_is_a_message(name: str, text: str, tmp_path: Path) -> None:
    read, suffix = READERS[name]
    path = tmp_path / f"x{suffix}"
    path.write_text(TEXTS[suffix][text])
    started = time.process_time()
    with pytest.raises(ConfigError) as caught:
        read(str(path))
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    assert len(said) < len(str(path)) + 250
    assert time.process_time() - started < 1


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_byte_order_mark_and_gzip_are_read(mark: str, packed: bool, tmp_path: Path) -> None:
    def written(name: str, text: str) -> str:
        content = f"{mark}{text}".encode()
        (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)
        return str(tmp_path / name)

    assert load_cards(written("a.toml", CARD))["mine"].peaks.bf16 == 100
    base = json.dumps({"schema": "vitcost.baseline/1", "budgets": {}})
    assert baseline.read(written("b.json", base)) == {}
    model = json.dumps({"base": "vit_tiny_patch16_224", "num_classes": 5})
    assert resolve(written("c.json", model)).config.num_classes == 5
    budget = '[[tool.vitcost.budget]]\nmodel = "vit_tiny_patch16_224"\nparams = "6M"\n'
    assert [each.name for each in read_budgets(written("d.toml", budget))] == [
        "vit_tiny_patch16_224"
    ]
    csv = "model,gpu,batch_size,samples_per_sec\nvit_tiny_patch16_224,l4,8,100\n"
    assert [row.batch for row in read_measurements(written("e.csv", csv))] == [8]


CONSTANTS = """\
[[calibration]]
gpu = "l4"
mode = "infer"
precision = "amp"
layout = "nchw"
compiled = false
platform = "cuda"
torch = "2.9"
constants = { gemm = 2.0, attention = 1.2, memory = 1.9, conv = 0.5, strided = 0.0 }
rows = 4
error = 0.01
held_out = 0.02
band = 0.15
source = "rows.csv"
least_batch = 16
basis = "calibrated"
"""


def test_constants_are_numbers_that_a_fit_can_have(tmp_path: Path) -> None:
    """Each line in turn with a value of another kind: the file is refused, or it is read to the
    same kinds of values."""
    path = tmp_path / "k.toml"
    path.write_text(CONSTANTS)
    (whole,) = load_calibrations(path)
    kinds = [type(value) for value in whole]
    refused = set()
    for line in CONSTANTS.splitlines()[1:]:
        name = line.partition(" = ")[0]
        for odd in ("{a = 1}", "-1", "1e300", '"x"', "[]", "true", "1979-05-27"):
            path.write_text(CONSTANTS.replace(line, f"{name} = {odd}"))
            try:
                (found,) = load_calibrations(path)
            except ConfigError:
                refused.add(name)
            else:
                assert [type(value) for value in found] == kinds, (name, odd)
    numbers = {"constants", "rows", "error", "held_out", "band", "least_batch"}
    assert refused >= {*numbers, "gpu", "precision", "layout", "platform", "torch", "basis"}
    for line, odd in (("2.0", "-2.0"), ("0.15", "1.0"), ("calibrated", "spec_sheet")):
        path.write_text(CONSTANTS.replace(line, odd))
        with pytest.raises(ConfigError, match=r"a \[\[calibration\]\] that cannot be read"):
            load_calibrations(path)


@pytest.mark.parametrize("names", [("tiny",), ("tiny", "tiny"), ("tiny", "nosuch")])
def test_rows_of_one_width_are_not_held_out(names: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    rows = (f"vit_{name}_patch16_224,l4,256,3000\n" for name in names)
    path.write_text("model,gpu,batch_size,samples_per_sec\n" + "".join(rows))
    with pytest.raises(NotCovered, match=r"no row is covered: "):
        check_throughput(str(path), held_out=True)


def test_many_dots_that_are_no_key_are_read() -> None:
    pins = ", ".join(f'"a{i}==1.2.{i}"' for i in range(50))
    numbers = ", ".join(f"{i}.5" for i in range(50))
    prose = "A sentence. " * 50
    text = f'pins = [{pins}]\nx = [{numbers}]\ny = """{prose}"""\nz = "{prose}" # {prose}\n'
    data = parse_toml("pyproject.toml", text, BUDGETS)
    assert len(data["pins"]) == len(data["x"]) == 50
    assert data["y"] == data["z"] == prose


def test_a_key_that_occurs_twice_is_named() -> None:
    with pytest.raises(ConfigError, match="the key 'b' occurs twice"):
        parse_json("x.json", '{"a": 1, "b": 2, "c": 3, "b": 4}', MODEL)


def test_a_missing_baseline_is_none_and_a_locked_one_is_refused(tmp_path: Path) -> None:
    assert baseline.read(str(tmp_path / "none.json")) is None
    with pytest.raises(ConfigError, match="cannot be read"):
        read_json(str(tmp_path / ("x" * 300)), BASELINE)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_text("a\0b", MODEL)


def test_a_name_that_no_path_can_be_is_unknown() -> None:
    with pytest.raises(VitcostError, match="unknown model"):
        resolve("x" * 300)


def test_the_slowest_texts_of_the_allowed_size_are_bounded(tmp_path: Path) -> None:
    """A whole command for each, in a process with the limits that a run is held to."""
    mebibyte = 2**20
    texts = {
        "a.toml": "a = [" + "1," * (mebibyte // 2 - 10) + "]",
        "d.toml": '""" \\""" ' * (mebibyte // 9),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        ran = limited("-m", "vitcost", "budget", "--config", name, cwd=tmp_path)
        assert (ran.code, ran.out) == (2, ""), ran.err
        assert ran.err.startswith(f"Error: {name}: ")
        assert ran.cpu_seconds < 5


# the only modules that may open a file
# the page packs the package's own files, and copies those of a release of Pyodide; a digest is a
# file of the package, of which a name reads its own block
READ_BY = {"outside/reading.py", "web/__init__.py", "cli/topics.py", "traced/digest.py"}
WRITTEN_BY = {"outside/writing.py", "cli/output.py"}


def test_no_file_is_read_elsewhere() -> None:
    """A file that is opened past the reader is found by its call."""
    root = Path(vitcost.__file__).parent
    found = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if opens(path.read_text(encoding="utf-8"))
    }
    assert found - WRITTEN_BY == READ_BY


@pytest.mark.parametrize(
    "call",
    ["open('x')", "Path('x').read_text()", "p.read_bytes()", "p.open()", "tomllib.load(f)"],
)
def test_a_call_that_opens_a_file_is_found(call: str) -> None:
    assert opens(call)


def opens(source: str) -> bool:
    calls = [
        ast.unparse(node.func) for node in ast.walk(ast.parse(source)) if type(node) is ast.Call
    ]
    ends = (".open", ".read_text", ".read_bytes", "json.load", "tomllib.load", ".loadtxt")
    return any(call == "open" or call.endswith(ends) for call in calls)
