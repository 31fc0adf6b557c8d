"""The words of other tools: each is taken for ours, or met with the offer of ours."""

import inspect
from dataclasses import fields

import click
import pytest

import vitcost
from vitcost.cli import COMMANDS, cli, run
from vitcost.config.offers import FLAGS, offer
from vitcost.config.scenario import CHOICES, Scenario
from vitcost.config.text_config import TEXT_FIELDS
from vitcost.config.vit_config import FIELDS
from vitcost.config.words import COMMANDS as THEIRS
from vitcost.config.words import VALUES
from vitcost.costs.quantities import parse_limit
from vitcost.errors import ConfigError, VitcostError
from vitcost.planner.job import parse_days, parse_price
from vitcost.zoo import names

BASE = "vit_tiny_patch16_224"
Captured = pytest.CaptureFixture[str]
SCENARIO = {field.name for field in fields(Scenario)}
# flags of the command line that are no keywords
SCREEN = {"levels", "brief", "format"}


def options() -> set[str]:
    """Every long flag of every command, fields too."""
    found: set[str] = set()
    for name in COMMANDS:
        command = cli.get_command(None, name)  # type: ignore[attr-defined]
        rare = getattr(command, "rare", None)
        params = [*command.params, *(rare() if rare else ())]
        found |= {flag for p in params if isinstance(p, click.Option) for flag in p.opts}
    return found


def last(capsys: Captured) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    return str(err.splitlines()[-1])


@pytest.mark.parametrize("word", FLAGS)
def test_a_flag_of_another_tool_is_met_with_ours(word: str, capsys: Captured) -> None:
    flag = f"--{word.replace('_', '-')}"
    assert run(["report", BASE, flag, "8"]) == 2
    assert last(capsys) == f"Error: no such option: {offer(flag, '8')}"
    assert run(["report", BASE, f"{flag}=8"]) == 2
    assert last(capsys) == f"Error: no such option: {offer(flag, '8')}"


@pytest.mark.parametrize("word", FLAGS)
def test_a_keyword_of_another_tool_is_met_with_ours(word: str) -> None:
    for ask in (vitcost.report, vitcost.fit, vitcost.compare):
        if word in inspect.signature(ask).parameters:
            continue
        with pytest.raises(VitcostError) as error:
            ask(BASE, **{word: 8})  # type: ignore[operator]
        assert offer(word, "8", python=True) in str(error.value)


def test_what_is_offered_is_there_and_no_word_of_ours_is_taken() -> None:
    ours = options()
    keywords = SCENARIO | FIELDS.keys() | TEXT_FIELDS.keys() | {"gpu"} | SCREEN
    for theirs, word in FLAGS.items():
        for name, said in word.ours:
            assert f"--{name.replace('_', '-')}" in ours
            assert name in keywords
            if name in CHOICES and "{}" not in said:
                assert said in CHOICES[name]
        assert theirs not in (SCENARIO | FIELDS.keys() | TEXT_FIELDS.keys())
    assert all(command in COMMANDS for command in THEIRS.values())
    assert not THEIRS.keys() & set(COMMANDS)


@pytest.mark.parametrize("flag", VALUES)
def test_a_value_of_another_tool_is_ours(flag: str) -> None:
    own = CHOICES.get(flag, ("none", "selective", "block"))
    for theirs, ours in VALUES[flag].items():
        assert ours in own
        assert theirs not in own
        for spelled in (theirs, theirs.upper()):
            assert getattr(Scenario(**{flag: spelled}), flag) == ours
    for word in own:
        if word:
            assert getattr(Scenario(**{flag: word.upper()}), flag) == word


def test_a_recipe_knows_the_words_too() -> None:
    assert Scenario.of(recipe="megatron-fp16", precision="Float16").precision == "fp16"


def test_whole_numbers_however_they_are_typed(capsys: Captured) -> None:
    assert vitcost.report(BASE, batch=1e3).scenario.batch == 1000  # type: ignore[arg-type]
    with pytest.raises(VitcostError, match=r"batch must be an integer, got 1\.5"):
        vitcost.report(BASE, batch=1.5)  # type: ignore[arg-type]
    assert run(["report", BASE, "-b", "1e3", "--brief"]) == 0
    assert "batch 1,000" in capsys.readouterr().out
    for wrong in ("1.5", "1e-3", "many", "", "1e999"):
        assert run(["report", BASE, "-b", wrong]) == 2
        assert last(capsys).endswith(f"{wrong!r} is not a valid integer.")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([BASE], f"no such command '{BASE}'; did you mean `vitcost report {BASE}`?"),
        (["vit_bse_patch16_224"], "did you mean `vitcost report vit_base_patch16_224`?"),
        (["list"], "no such command 'list'; here it is `vitcost models`"),
        (
            ["report", BASE, "vit_base_patch16_224"],
            "report takes one model; for several: `vitcost compare A B`",
        ),
        (["report", BASE, "--precison", "bf16"], "'--precision'"),
    ],
)
def test_the_right_command_is_offered(args: list[str], said: str, capsys: Captured) -> None:
    assert run(args) == 2
    assert said in last(capsys)


def test_a_misspelled_keyword_is_near_a_flag_too() -> None:
    with pytest.raises(VitcostError, match="unknown field 'precison'; did you mean precision"):
        vitcost.report(BASE, precison="bf16")


@pytest.mark.parametrize(
    ("price", "number"),
    [
        ("$2.5", 2.5),
        ("2.5", 2.5),
        ("2.50 €/h", 2.5),
        ("USD 3", 3.0),
        ("3 eur / hour", 3.0),
        (4, 4.0),
    ],
)
def test_a_price_is_read_as_it_is_written(price: str | int, number: float) -> None:
    assert parse_price(price) == number


@pytest.mark.parametrize("price", ["", "cheap", "-1", "$", "0", "2,5", True, "1e400", "$1$2"])
def test_what_is_no_price_is_refused(price: object) -> None:
    with pytest.raises(ConfigError, match="price must be"):
        parse_price(price)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2 days", 172800), ("1 day", 86400), ("36 hours", 129600), ("90min", 5400),
     ("90 minutes", 5400), ("1.5h", 5400), ("10 sec", 10)],
)  # fmt: skip
def test_a_deadline_is_read_as_it_is_written(text: str, seconds: int) -> None:
    assert parse_days(text) == seconds


def test_a_month_is_not_a_minute() -> None:
    with pytest.raises(ConfigError, match=r"'1m' is minutes \(min\) or months"):
        parse_days("1m")
    with pytest.raises(ConfigError, match="a duration such as 3d"):
        parse_days("soon")


def test_a_count_has_its_own_unit_behind_it() -> None:
    assert (
        parse_limit("flops", "17.6 GFLOPs") == parse_limit("flops", "17.6 gflop") == 17_600_000_000
    )
    assert parse_limit("macs", "18 GMACs") == parse_limit("macs", "18G") == 18 * 10**9
    assert parse_limit("params", "86 Mparams") == 86_000_000
    # two FLOPs are a MAC, and bytes are no count
    for quantity, text in (("macs", "18 GFLOPs"), ("flops", "9 GMACs"), ("params", "86 MB")):
        with pytest.raises(ConfigError, match="expected a count such as"):
            parse_limit(quantity, text)


def test_a_name_of_several_cards_lists_them(capsys: Captured) -> None:
    for name in ("h100", "H100", "nvidia h100", "h100,power_w=300"):
        assert run(["fit", BASE, "-g", name]) == 2
        assert "it is 3 cards, name one: h100-sxm, h100-pcie, h100-nvl" in last(capsys)


def test_a_card_of_which_only_the_memory_is_known(capsys: Captured) -> None:
    """24 GB are 24·10⁹ bytes and 24 GiB 24·2³⁰, as everywhere; a sheet's number is in GiB."""
    for gpu, size in (("24GB", 24 * 10**9), ("24 GiB", 24 * 2**30), ("memory_gb=24", 24 * 2**30)):
        (row,) = vitcost.fit(BASE, gpu=gpu).found
        assert (row.gpu, row.capacity_bytes) == (gpu, size)
    (l4,) = vitcost.fit(BASE, gpu="l4", precision="bf16", reserve=0).found
    (bare,) = vitcost.fit(BASE, gpu="24GiB", precision="bf16", reserve=0).found
    assert bare.largest_batch == l4.largest_batch
    # no time can be had of it, and none is made up
    assert run(["report", BASE, "-g", "24GB"]) == 2
    assert last(capsys).endswith("`vitcost fit -g 24GB` asks for its memory alone")
    assert {card.name for card in vitcost.gpus("24GB").found} >= {"l4", "rtx4090", "a10"}
    assert all(card.memory_gb == 24 for card in vitcost.gpus("24 GiB").found)


def test_every_word_of_a_query_is_in_a_name(capsys: Captured) -> None:
    assert run(["models", "dino", "v2", "-q"]) == 0
    found = capsys.readouterr().out.split()
    lower = {name: name.lower() for name in names()}
    assert found == [name for name, text in lower.items() if "dino" in text and "v2" in text]
    assert "vit_base_patch14_dinov2" in found
    assert run(["models", "dino", "zzz"]) == 2
    assert "unknown model 'dino zzz'" in last(capsys)


def test_heads_that_divide_a_width_are_named(capsys: Captured) -> None:
    assert run(["report", "vit_base_patch16_224", "--num-heads", "7"]) == 2
    assert last(capsys).endswith("embed_dim 768 is not divisible by num_heads 7; nearest: 6 or 8")


def test_annotations_are_of_what_can_fail(capsys: Captured) -> None:
    unjudged = "report M", "models huge", "gpus h100", "explain M params", "compare M M"
    for args in (line.replace("M", BASE).split() for line in unjudged):
        assert run([*args, "--format", "github"]) == 2
        more = ": add --check" if args[0] == "report" else ""
        assert last(capsys).endswith(f"lists what fails, and {args[0]} judges nothing{more}")
    assert run(["fit", BASE, "-g", "l4", "--format", "github"]) == 0
