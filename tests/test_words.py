"""The words of other tools: each is taken for ours, or met with the offer of ours."""

import inspect
from dataclasses import fields

import click
import pytest

import vitcost
from vitcost.cli import COMMANDS, cli, run
from vitcost.config import FIELDS
from vitcost.errors import VitcostError
from vitcost.scenario import CHOICES, Scenario
from vitcost.text import TEXT_FIELDS
from vitcost.words import COMMANDS as THEIRS
from vitcost.words import FLAGS, VALUES, offer

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
            "report is of one model, several: `vitcost compare A B`",
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
