"""Whatever a name, a title or a file holds is shown as itself, in every result and every format."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from results_support import NAMED, RESULTS
from test_html import ALLOWED, Read

from vitcost.cli import run
from vitcost.page import printable
from vitcost.render import FORMATS, render

hostile = st.text(st.characters(), max_size=40) | st.sampled_from(
    [
        "</td></style><script>alert(1)</script>",
        "'\"><img src=x onerror=alert(1)>",
        "\x1b]0;title\x07\x1b[2J",
        "=HYPERLINK(1)",
        "\t=1+1",
        "＝1+1",
        "| a | b |\n\n# c",
        "![x](http://a.b/c) <b> `c` [d](e)",
        "::error file=a::b%0A",
        " \u00a0::error::b",
        "a ##[error]b ##vso[task.complete]c ##teamcity[d",
        "words " * 20 + "::error::" + " words" * 20,
        "\u202eevil\u2066",
        "\ud800",
        "[red]bold[/red] :smile:",
        "x" * 3000,
    ]
)


def check_csv(out: str) -> None:
    rows = list(csv.reader(io.StringIO(out)))
    assert len({len(row) for row in rows}) == 1
    for row in rows:
        for cell in row:
            number = re.fullmatch(r"-?[\d.]+(e[+-]?\d+)?", cell)
            assert number or not cell.lstrip().startswith(
                ("=", "+", "-", "@", "＝", "＋", "－", "＠")
            )


def check_html(out: str) -> None:
    read = Read(out)
    assert {tag for tag, _ in read.tags} <= ALLOWED
    assert not any(name.startswith("on") for _, attrs in read.tags for name in attrs)


def check_markdown(out: str) -> None:
    # the renderer's own tags, which fold a table
    own = re.sub(r"^<details><summary>(.*)</summary>$|^</details>$", r"\1", out, flags=re.M)
    assert "<" not in own
    pipes: list[int] = []
    for line in out.splitlines():
        count = len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) if line.startswith("| ") else 0
        # a table keeps the columns of its header
        assert not count or not pipes or pipes[-1] in (0, count)
        pipes.append(count)


def check_job(out: str) -> None:
    """No line that a job of CI obeys: the runner of GitHub trims it and looks for ``::`` first,
    then for ``##[`` anywhere, that of Azure for ``##vso[``."""
    assert not re.search(r"^\s*::", out, re.MULTILINE)
    assert not re.search(r"##\w*\[", out)


def check_github(out: str) -> None:
    for line in out.splitlines():
        head, _, _ = line.partition(" ")[2].partition("::")
        assert re.match(r"::(error|warning|notice) ", line)
        assert all(re.fullmatch(r"(file|line|title)=[^,:]+", each) for each in head.split(","))


def check_latex(out: str) -> None:
    """No sign of a text is a command: what TeX would obey stands behind a backslash, or in one of
    the renderer's own words; formulas are made of the formula's letters."""
    out = re.sub(r"\\begin\{align\*\}.*?\\end\{align\*\}", "", out, flags=re.DOTALL)
    out = re.sub(r"(?<=& )\$[a-zA-Z0-9 ^{}\\,()+=]*\$(?= [&\\])", "", out)
    for line in out.splitlines():
        if line.startswith("%"):
            continue
        own = re.sub(
            r"\\begin\{tabular\}\{[lr]*\}|\\end\{tabular\}|\\(?:top|mid|bottom)rule|\\quad |"
            r"\\textbf\{|\\text\w+\{\}|\\surd|\$\\?[a-zA-Z]*(?:\^\d)?\$|\\\\$|\\[&%$#_{}]| & ",
            "",
            line,
        )
        assert not re.search(r"[\\&%$#_^~]", own), line


CHECKS: dict[str, Any] = {
    "csv": check_csv,
    "html": check_html,
    "markdown": check_markdown,
    "github": check_github,
    "latex": check_latex,
    "junit": ElementTree.fromstring,
    "sarif": json.loads,
}


@pytest.mark.parametrize("name", NAMED)
@settings(max_examples=25, deadline=None)
@given(text=hostile)
def test_a_text_is_shown_as_itself(name: str, text: str) -> None:
    result = NAMED[name](text)
    # an answer that judges nothing is empty there
    empty = () if name in ("budget", "check", "fit") else ("junit", "sarif")
    for each in (form for form in FORMATS if form not in empty):
        if each != "github":
            check_job(render(result, each, width=60))
        out = render(result, each)
        assert out.endswith("\n")
        assert all(c.isprintable() or c == "\n" for c in out)
        CHECKS.get(each, str)(out)
    assert json.loads(render(result, "json")) == json.loads(json.dumps(result.to_dict()))


@pytest.mark.parametrize("name", NAMED)
def test_the_text_is_there(name: str) -> None:
    """What the test above holds of is really in the page: a text that needs no escape."""
    assert printable("needle42") in render(NAMED[name]("needle42"), "table")
    assert "needle42" in render(NAMED[name]("needle42"), "json")


def test_every_result_is_tried() -> None:
    assert NAMED.keys() == RESULTS.keys()


def test_a_folder_of_any_name_is_no_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["web", "::error::x"]) == 0
    assert capsys.readouterr().out.startswith(r"\x3a:error::x: ")
    assert (tmp_path / "::error::x").is_dir()
