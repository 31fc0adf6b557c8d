"""The user's own code: whatever it prints, raises, leaves behind or is made of."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from limited import Forks

from vitcost import ConfigError
from vitcost.outside.users_code import reason_of, users_code

MODULES = """
import atexit, os, sys, threading, time
from dataclasses import dataclass
import torch
from torch import nn

print("printed by the import")

class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(224, 4)
    def forward(self, x):
        return self.layer(x)

class Prints(Plain):
    def forward(self, x):
        print("printed by the forward")
        os.write(1, b"written below Python\\n")
        os.system("echo printed by a child")
        return self.layer(x)

def hooked():
    model = Plain()
    model.layer.register_forward_hook(lambda *_: print("printed by a hook"))
    return model

def at_exit():
    atexit.register(print, "printed at the exit")
    return Plain()

def thread():
    def printing():
        while True:
            print("printed by a thread")
            time.sleep(0.01)
    threading.Thread(target=printing).start()
    return Plain()

def taken_streams():
    sys.stdout = sys.stderr = open(os.devnull, "w")
    return Plain()

def closed_streams():
    sys.stdout.close()
    sys.stderr.close()
    return Plain()

def no_paths():
    sys.path.clear()
    return Plain()

class Unprintable(Plain):
    def __repr__(self):
        raise ValueError

    @property
    def __class__(self):
        sys.exit(0)

def unprintable():
    return [Unprintable()]

class Nothing(nn.Module):
    def forward(self, x):
        return x

def elsewhere():
    os.chdir("/")
    return Plain()

class Elsewhere(Plain):
    def forward(self, x):
        os.chdir("/")
        return self.layer(x)

class Exits(Plain):
    def forward(self, x):
        sys.exit(3)

class ExitsWhenRead(Plain):
    @property
    def patch_embed(self):
        sys.exit(0)
    def named_parameters(self, *args, **kwargs):
        sys.exit(0)

class Later(Plain):
    def forward(self, x):
        return {"later": map(self.layer, [x])}

class Yields(Plain):
    def forward(self, x):
        yield self.layer(x)

class Awaited(Plain):
    async def forward(self, x):
        return self.layer(x)

class Odd(BaseException):
    def __str__(self):
        raise ValueError

class Raises(Plain):
    def forward(self, x):
        raise Odd

class NoParameters(Plain):
    def named_parameters(self, *args, **kwargs):
        raise ValueError("no parameters")

def scripted():
    return torch.jit.script(nn.Sequential(nn.Linear(224, 4)))

def nested():
    model = nn.Linear(224, 4)
    for _ in range(1500):
        model = nn.Sequential(model)
    return model

def exits():
    sys.exit(0)

def odd():
    raise Odd

def searches():
    torch.autograd.set_detect_anomaly(True)
    return Plain()

def shallow():
    sys.setrecursionlimit(90)
    return Plain()

def hooked_backward():
    def reads(module, given, gradients):
        # numbers that fakes have none of
        assert gradients[0].abs().max().item() < 9
    model = Plain()
    model.register_full_backward_hook(reads)
    return model

def forked():
    os.fork()
    return Plain()

class Classless(Plain):
    @property
    def __class__(self):
        raise UnicodeError("no class")

class Doubles(Plain):
    def forward(self, x):
        return [x, x]

@dataclass
class Scores:
    logits: torch.Tensor

class Typed(Plain):
    def forward(self, x):
        return Scores(super().forward(x))

def many():
    return nn.Sequential(*[Doubles() for _ in range(40)])

def spoils():
    import click
    click.echo = None
    return Plain()

text = "text"
"""

# a model that is answered, and a line that it prints, which belongs on stderr
ANSWERED = {
    "Plain": "printed by the import",
    "Prints": "printed by the forward\n",
    "hooked": "printed by a hook",
    "at_exit": "printed at the exit",
    "thread": "printed by a thread",
    "taken_streams": "",
    "closed_streams": "",
    "no_paths": "",
    "elsewhere": "",
    "Elsewhere": "",
    "searches": "",
    "shallow": "",
    "forked": "",
}
REFUSED = {
    "ExitsWhenRead": "reading the module: SystemExit: 0",
    "Raises": "tracing it: Odd: it cannot say why",
    "Exits": "tracing it: SystemExit: 3",
    "Later": "returns a map: none of its work is done",
    "Awaited": "returns a coroutine: none of its work is done",
    "Yields": "returns a generator: none of its work is done",
    "Typed": "returns a Scores, a dataclass, whose tensors are not read: give a dictionary",
    "NoParameters": "reading the module: ValueError: no parameters",
    "scripted": "TorchScript hides its forward; give the module it was made of",
    "nested": "nested deeper than Python's limit of 1,000, which sys.setrecursionlimit in the",
    "unprintable": "not a torch.nn.Module",
    "exits": "calling exits(): SystemExit: 0",
    "odd": "calling odd(): Odd: it cannot say why",
    "text": "text is 'text', which cannot be called",
    "absent": "has no absent",
    "hooked_backward": "the trace stopped in the model's own forward, backward at aten._local",
    "Classless": "reading the module: UnicodeError: no class",
    "many": "an output of more than 100,000 tensors and other values",
    "spoils": "your code has run in this process, and then: TypeError: 'NoneType' object is not",
}


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks("warm_torch") as found:
        yield found


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "users.py").write_text(MODULES)
    return tmp_path


@pytest.mark.parametrize("name", ANSWERED)
def test_the_answer_stands_alone(name: str, forks: Forks, project: Path) -> None:
    ran = forks.run("report", f"users:{name}", "--json", cwd=project)
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["params"]["total"] == 224 * 4 + 4
    assert ANSWERED[name] in ran.err
    assert "Traceback" not in ran.err
    assert not ran.late


@pytest.mark.parametrize("how", ["table", "json", "csv", "markdown", "html"])
def test_a_module_without_any_module_has_a_page(how: str, forks: Forks, project: Path) -> None:
    ran = forks.run("report", "users:Nothing", "--format", how, cwd=project)
    assert ran.code == 0, ran.err


def test_a_traced_module_has_torchsummarys_table(forks: Forks, project: Path) -> None:
    ran = forks.run("summary", "users:Plain", cwd=project)
    assert ran.code == 0
    assert "Total params: 900" in ran.out


def test_all_that_is_printed_goes_to_stderr(forks: Forks, project: Path) -> None:
    ran = forks.run("report", "users:Prints", cwd=project)
    assert "printed" not in ran.out
    assert "written below" not in ran.out
    for line in ("printed by the forward", "written below Python", "printed by a child"):
        assert line in ran.err


@pytest.mark.parametrize("name", REFUSED)
def test_one_message(name: str, forks: Forks, project: Path) -> None:
    ran = forks.run("report", f"users:{name}", "--json", cwd=project)
    assert (ran.code, ran.out) == (2, ""), ran.err
    assert REFUSED[name] in ran.err
    assert "Traceback" not in ran.err
    assert "never awaited" not in ran.err


@pytest.mark.parametrize("name", ["elsewhere", "Elsewhere"])
def test_the_answer_is_written_where_the_user_stands(
    name: str, forks: Forks, project: Path
) -> None:
    ran = forks.run("report", f"users:{name}", "-o", "answer.json", cwd=project)
    assert ran.code == 0, ran.err
    assert json.loads((project / "answer.json").read_text())["schema"] == "vitcost.report/1"


def test_a_full_disk_is_a_message(forks: Forks, project: Path) -> None:
    code = """
import os, sys
os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
from vitcost.__main__ import main
main()
"""
    ran = forks.run("report", "users:Plain", cwd=project, code=code)
    assert ran.code == 2, ran.err
    assert "cannot write the answer: No space left on device" in ran.err


def test_in_a_process_of_others_the_streams_are_given_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = sys.stdout, sys.stderr, Path.cwd()

    def leave() -> None:
        with users_code("trying"):
            print("aside")
            sys.exit(4)

    with pytest.raises(ConfigError, match=r"trying: SystemExit: 4"):
        leave()
    assert (sys.stdout, sys.stderr, Path.cwd()) == before
    assert capsys.readouterr() == ("", "aside\n")


def test_an_interrupt_and_our_own_errors_pass() -> None:
    for error in (KeyboardInterrupt(), ConfigError("ours")):
        with pytest.raises(type(error)) as caught, users_code("trying"):
            raise error
        assert caught.value is error


def test_a_reason_is_one_short_line() -> None:
    assert reason_of(ValueError("a\nb")) == "ValueError: a"
    assert reason_of(KeyError()) == "KeyError"
    assert len(reason_of(ValueError("x" * 10**6))) < 400
