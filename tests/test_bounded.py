"""What is typed takes bounded time and memory; what is written is whole, and keeps its mode."""

import cProfile
import itertools
import json
import time
from pathlib import Path

import numpy as np
import pytest
from limited import ROOT, limited

import vitcost
from vitcost import (
    ConfigError,
    Scenario,
    ViTConfig,
    VitcostError,
    compare,
    explain,
    models,
    report,
    sweep,
)
from vitcost.cli import run
from vitcost.formulas.terms import MOST_ALLOCATIONS, MOST_MODULES
from vitcost.outside import reading
from vitcost.outside.arguments import takes
from vitcost.outside.reading import Kind
from vitcost.outside.writing import whole
from vitcost.planner.grid import MOST_POINTS
from vitcost.planner.named import MOST_COMPARED
from vitcost.planner.plot import Picture, plot
from vitcost.planner.sweep import MOST_BLOCKS, MOST_LISTED, MOST_REPORTS, MOST_STREAMED
from vitcost.traced.file import TRACE
from vitcost.units import parse_bytes

TINY = "vit_tiny_patch16_224"
BILLION = "batch=1:1000000000:+1"


@pytest.mark.parametrize("count", [1, 2, 30])
@pytest.mark.parametrize("quantity", ["train_memory", "flops", "step_time"])
def test_a_plot_of_equal_values_has_few_ticks(quantity: str, count: int, tmp_path: Path) -> None:
    """Each side of the picture has one value, of whatever unit and size."""
    flags = {"gpu": "l4"} if quantity == "step_time" else {}
    found = compare(*[TINY] * count, quantities=[quantity, "weights"], **flags)
    path = tmp_path / "p.svg"
    found.plot(str(path), x=quantity, y="weights")
    text = path.read_text()
    assert 0 < text.count("xtick_") < 50
    assert 0 < text.count("ytick_") < 50


def test_a_plot_in_a_limited_process(tmp_path: Path) -> None:
    ran = limited("-m", "vitcost", "compare", TINY, "--plot", "p.png", cwd=tmp_path)
    assert (ran.code, ran.err) == (0, "")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_a_name_of_any_length_is_drawn(tmp_path: Path) -> None:
    row = {"model": "$x" * 10**6, "flops": 1, "train_memory_bytes": 1}
    plot([row], Picture("flops", "train_memory"), str(tmp_path / "p.svg"))


def test_a_range_is_drawn_from_without_being_laid_out(tmp_path: Path) -> None:
    args = ("compare", TINY, "--vary", BILLION, "--sample", "5", "--json")
    ran = limited("-m", "vitcost", *args, cwd=tmp_path)
    assert ran.code == 0, ran.err
    rows = json.loads(ran.out)["rows"]
    assert len(rows) == 5
    for row in rows:
        # 1,257,... forward FLOPs a image: linear in the batch
        assert row["flops"] == row["batch"] * report(TINY).flops.forward


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--vary", BILLION), "1,000,000,000 combinations are more than 2,000,000"),
        (("--vary", "reg_tokens=0:99999:+1"), "100,000 combinations of reg_tokens are described"),
        (("--vary", "batch=1:999999:+1,5"), "more than 100,000 values to be listed"),
        (
            ("--vary", "batch=1:999:+1", "--sample", "5", "--seed", "-1"),
            "seed must be between 0 and",
        ),
        (("--vary", "batch=1:999:+1", "--sample", "0"), "sample must be between 1 and"),
        (("--plot", "x.svg", "-o", "x.svg", "--json"), "-o and --plot are both 'x.svg'"),
    ],
    ids=str,
)
def test_a_grid_that_nobody_would_wait_for(
    args: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compare", TINY, *args]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err


def test_the_limits_are_those_of_the_page() -> None:
    """Each row of the table has its number, and every kind of file has a row."""
    section = (ROOT / "vitcost" / "limits.md").read_text(encoding="utf-8")
    rows = [line for line in section.splitlines() if line.startswith("| ")][2:]
    values = [row.strip("| ").rpartition(" | ")[2] for row in rows]
    numbers = (
        MOST_COMPARED, MOST_STREAMED, MOST_LISTED, MOST_POINTS, MOST_REPORTS, MOST_BLOCKS,
    )  # fmt: skip
    assert values[:6] == [f"{n:,}" for n in numbers]
    assert values[6] == f"{MOST_MODULES:,}, {MOST_ALLOCATIONS:,}"
    assert {parse_bytes(size) for size in values[7:12]} == {kind.most for kind in kinds()}
    assert values[12:] == ["64, 16"]
    assert {kind.depth for kind in kinds()} == {64, 16}


def kinds() -> list[Kind]:
    """Every kind of file that is read."""
    found = [value for value in vars(reading).values() if isinstance(value, Kind)]
    assert len(found) > 8
    return [*found, TRACE]


def test_what_has_no_end_is_not_listed() -> None:
    with pytest.raises(ConfigError, match="more than 100,000 values"):
        sweep(TINY, vary={"batch": itertools.count(1)})
    with pytest.raises(ConfigError, match="too large"):
        sweep(TINY, vary={"batch": range(1, 10**9, 1), "depth": range(1, 100)})


@pytest.mark.parametrize("kind", [np.int8, np.int64, np.uint16])
def test_the_integers_of_numpy_are_integers(kind: type) -> None:
    assert report(TINY, batch=kind(4), depth=kind(3)) == report(TINY, batch=4, depth=3)
    assert Scenario(batch=kind(4)) == Scenario(batch=4)
    assert type(Scenario(batch=kind(4)).batch) is int
    # a float without a fraction is the integer that it is
    assert report(TINY, batch=np.float64(4)) == report(TINY, batch=4)
    with pytest.raises(ConfigError, match="batch must be an integer"):
        report(TINY, batch=np.float64(4.5))
    with pytest.raises(ConfigError, match="batch must be an integer"):
        report(TINY, batch=np.array([4, 5]))
    with pytest.raises(ConfigError, match="batch must be an integer"):
        report(TINY, batch=np.bool_(True))


# writing


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_a_file_keeps_its_mode(mode: int, tmp_path: Path) -> None:
    for name, args in {
        "x.txt": ("report", TINY, "-o"),
        "x.svg": ("compare", TINY, "--plot"),
        "x.parquet": ("compare", TINY, "-o"),
    }.items():
        path = tmp_path / name
        path.write_text("old")
        path.chmod(mode)
        assert run([*args, str(path)]) == 0
        assert path.stat().st_mode & 0o7777 == mode
        assert path.read_bytes() != b"old"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["x.parquet", "x.svg", "x.txt"]


@pytest.mark.parametrize("args", [("report", TINY, "--json", "-o"), ("compare", TINY, "--plot")])
def test_a_loop_of_links_is_a_message(
    args: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = tmp_path / "a.svg", tmp_path / "b.svg"
    a.symlink_to(b)
    b.symlink_to(a)
    assert run([*args, str(a)]) == 2
    assert "Too many levels of symbolic links" in capsys.readouterr().err
    assert a.is_symlink()
    assert b.is_symlink()


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    link, file, name = tmp_path / "link", tmp_path / "file", tmp_path / ("x" * 250)
    link.symlink_to(file)
    # to nothing yet, and to a file
    for _ in range(2):
        assert run(["models", "-q", "-o", str(link)]) == 0
        assert link.is_symlink()
        assert TINY in file.read_text()
        file.write_text("old")
    assert run(["models", "-q", "-o", str(name)]) == 0


def test_an_interrupted_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")

    def write(error: type[BaseException]) -> None:
        with whole(str(path)) as part:
            part.write_text("half")
            raise error

    for error in (KeyboardInterrupt, MemoryError, SystemExit):
        with pytest.raises(error):
            write(error)
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_printed_before_the_answer_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The picture has no format, or no folder to go to: then there is no answer beside it."""
    formless = ("--plot", str(tmp_path / "p.xyz"))
    nowhere = ("--plot", str(tmp_path / "none" / "p.svg"))
    for args in (formless, nowhere):
        assert run(["compare", TINY, "--json", *args]) == 2
        assert capsys.readouterr().out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "args",
    [
        ("models", "-q", "--json"),
        ("models", "-q", "--format", "csv"),
        ("gpus", "-q", "--json"),
        ("compare", TINY, TINY, "--why", "--format", "csv"),
        ("report", TINY, "--check", "--format", "csv"),
        ("explain", TINY, "params", "--latex", "--format", "csv"),
        ("budget", "--why", "--format", "csv"),
    ],
    ids=str,
)
def test_a_flag_that_a_format_has_no_place_for_is_refused(
    args: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "cannot be shown in" in err or "-q prints only names, and takes no format" in err


def test_a_long_name_is_refused_at_once() -> None:
    """A name of a million letters is no name of anything, and no message has it whole."""
    asked = {
        "words": lambda: models("vit " * 250_000),
        "a factory": lambda: report("x:y(" + "a=1," * 250_000 + ")"),
        "a loss": lambda: report("x:y", loss="x:" + "y" * 10**6),
    }
    for name, call in asked.items():
        started = time.process_time()
        with pytest.raises(VitcostError) as caught:
            call()
        assert len(str(caught.value)) < 500, name
        assert time.process_time() - started < 2, name


# explain


@pytest.mark.parametrize("optimizer", ["adamw-loop", "lion"])
def test_a_formula_of_many_tensors_is_found_at_once(optimizer: str) -> None:
    """An optimizer that takes one tensor after the other has a maximum over all of them, which
    sympy compared by pairs for 14 seconds."""
    config = ViTConfig(
        embed_dim=128, num_heads=4, depth=5, patch_size=14, img_size=(56, 98),
        attn_layer="diff", mlp_layer="GeGluMlp", attn_drop_rate=0.1, drop_path_rate=0.1,
    )  # fmt: skip
    flags = {"batch": 2, "platform": "cpu", "optimizer": optimizer}
    explain(TINY, "params")
    started = time.process_time()
    found = explain(config, "train-memory", **flags)
    assert time.process_time() - started < 2
    assert found.value == report(config, **flags).training.peak_bytes
    assert sum(term.value for term in found.terms) == found.value


@pytest.mark.parametrize("quantity", ["params", "bytes-moved", "train-memory"])
def test_letters_cost_as_much_work_as_blocks_differ(quantity: str) -> None:
    """Work is counted in calls of functions: a block more is so many calls more, however many
    blocks there are. sympy, which sorts a sum at every addition, took 155,000 a block."""
    own = {"attn_layer": "rope", "qkv_fused": False, "embed_dim": 64, "num_heads": 4}
    flags = {"train-memory": {"checkpointing": "every:1", "precision": "amp-fp16"}}
    explain(TINY, quantity)
    calls = []
    for pairs in (4, 8, 16):
        config = ViTConfig(**own, depth=2 * pairs, num_kv_heads=(1, 2) * pairs)
        counted = cProfile.Profile()
        counted.runcall(explain, config, quantity, **flags.get(quantity, {}))
        calls.append(sum(each.callcount for each in counted.getstats()))
    few, many = (calls[1] - calls[0]) / 8, (calls[2] - calls[1]) / 16
    assert few < 60_000
    assert many < 1.2 * few


def test_a_formula_that_is_large_is_told_in_numbers() -> None:
    """100 blocks that all differ, each computed again in the backward pass: letters would cost as
    much again as the numbers do."""
    own = {"attn_layer": "rope", "qkv_fused": False, "embed_dim": 64, "num_heads": 4}
    flags = {"checkpointing": "every:1", "precision": "amp-fp16", "batch": 2}
    explain(TINY, "train_memory")
    calls = {}
    for depth in (50, 100):
        config = ViTConfig(**own, depth=depth, num_kv_heads=(1, 2) * (depth // 2))
        counted = cProfile.Profile()
        found = counted.runcall(explain, config, "train_memory", **flags)
        calls[depth] = sum(each.callcount for each in counted.getstats())
        assert found.value == sum(term.value for term in found.terms)
        assert found.value == report(config, **flags).training.peak_bytes
        large = depth == 100
        assert bool(found.letters) is not large, depth
        assert [found.note.startswith("the formula is large"), "20,000" in found.note] == [
            large
        ] * 2
    assert found.substituted == found.formula == " + ".join(str(t.value) for t in found.terms)
    # twice the blocks cost no more; a second is some 4,000,000 calls
    assert calls[100] < 1.2 * calls[50] < 3_000_000


@pytest.mark.parametrize("quantity", ["params", "train-memory"])
def test_blocks_that_all_differ_are_bounded(quantity: str) -> None:
    own = {"attn_layer": "rope", "qkv_fused": False, "embed_dim": 64, "num_heads": 4}
    config = ViTConfig(**own, depth=100, num_kv_heads=(1, 2) * 50)
    started = time.process_time()
    explain(config, quantity)
    assert time.process_time() - started < 5
    with pytest.raises(ConfigError, match="num_kv_heads changes more than 100 times"):
        ViTConfig(**own, depth=10_000, num_kv_heads=(1, 2) * 5_000)
    with pytest.raises(ConfigError, match="not one number for each of depth 2") as caught:
        ViTConfig(**own, depth=2, num_kv_heads=(1, 2) * 50_000)
    assert len(str(caught.value)) < 300


def test_a_number_that_no_float_holds_is_a_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sizes multiply to integers of any length, and times and ratios are floats."""

    def page(self: vitcost.Report) -> None:
        float(10**400)

    monkeypatch.setattr(vitcost.Report, "page", page)
    assert run(["report", TINY]) == 2
    assert "larger than a float holds" in capsys.readouterr().err
    found = takes()(lambda: 2.0 * 10**400)
    with pytest.raises(ConfigError, match="larger than a float holds"):
        found()
