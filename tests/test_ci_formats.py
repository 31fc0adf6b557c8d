"""Verdicts as CI reads them: JUnit's XML and SARIF keep their schemas, and say what a page says.

The schemas are written out here from their sources: Ant's reports (windyroad/JUnit-Schema,
JUnit.xsd, 2024) and OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0 Plus
Errata 01", 2023. SARIF is held against its published JSON schema too.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import pytest
from jsonschema import Draft4Validator, Draft202012Validator
from results_support import RESULTS

import vitcost
from vitcost.cli import run
from vitcost.costs.quantities import QUANTITIES
from vitcost.page import Annotation, Case, Page
from vitcost.render import render

Captured = pytest.CaptureFixture[str]


class Declared(NamedTuple):
    """An element of JUnit.xsd: its attributes, each with its type and those that may be left out;
    its children in their order, and how many of each there are at least and at most."""

    attributes: dict[str, str]
    optional: tuple[str, ...] = ()
    children: tuple[tuple[str, int, int], ...] = ()
    choice: bool = False  # one child at most, of any of the kinds


MANY = 10**9
TOKEN, INT, DECIMAL, TEXT = r"\S+(?: \S+)*", r"-?\d+", r"-?\d+(?:\.\d+)?", r"[\s\S]*"
TIMESTAMP = r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}"
WHY = Declared({"message": TEXT, "type": TEXT}, ("message",))
JUNIT = {
    "testsuites": Declared({}, (), (("testsuite", 0, MANY),)),
    "testsuite": Declared(
        {
            "package": TOKEN, "id": INT, "name": TOKEN, "timestamp": TIMESTAMP, "hostname": TOKEN,
            "tests": INT, "failures": INT, "errors": INT, "skipped": INT, "time": DECIMAL,
        },
        ("skipped",),
        (("properties", 1, 1), ("testcase", 0, MANY), ("system-out", 1, 1), ("system-err", 1, 1)),
    ),
    "properties": Declared({}, (), (("property", 0, MANY),)),
    "property": Declared({"name": TOKEN, "value": TEXT}),
    "testcase": Declared(
        {"name": TOKEN, "classname": TOKEN, "time": DECIMAL},
        (),
        (("skipped", 0, 1), ("error", 0, 1), ("failure", 0, 1)),
        choice=True,
    ),
    "error": WHY,
    "failure": WHY,
    # of any type
    "skipped": Declared({}),
    "system-out": Declared({}),
    "system-err": Declared({}),
}  # fmt: skip


def faults(element: ElementTree.Element) -> Iterator[str]:
    """Where an element departs from the schema."""
    declared = JUNIT.get(element.tag)
    if declared is None:
        yield f"no element {element.tag}"
        return
    for name in declared.attributes.keys() - element.keys() - {*declared.optional}:
        yield f"{element.tag} lacks {name}"
    for name, value in element.items():
        if not re.fullmatch(declared.attributes.get(name, "(?!)"), value):
            yield f"{element.tag}: {name}={value!r}"
    tags = [child.tag for child in element]
    order = [name for name, _, _ in declared.children]
    if any(tag not in order for tag in tags):
        yield f"{element.tag} holds {tags}"
    elif tags != sorted(tags, key=order.index) or (declared.choice and len(tags) > 1):
        yield f"{element.tag} holds {tags} in this order"
    for name, least, most in declared.children:
        if not least <= tags.count(name) <= most:
            yield f"{element.tag} holds {name} {tags.count(name)} times"
    for child in element:
        yield from faults(child)


def parsed(text: str) -> ElementTree.Element:
    root = ElementTree.fromstring(text)
    assert list(faults(root)) == []
    for i, suite in enumerate(root):
        cases = suite.findall("testcase")
        assert (suite.get("id"), suite.get("tests")) == (str(i), str(len(cases)))
        for kind, count in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            assert suite.get(count) == str(sum(case.find(kind) is not None for case in cases))
    return root


def an_object(required: str, **properties: Any) -> dict[str, Any]:
    """An object of SARIF with these properties alone."""
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


SAID = {"type": "string", "minLength": 1}
# section 3.11: a message has text, or the id of one
MESSAGE = an_object("text", text=SAID)
# 3.30: lines are counted from 1
REGION = an_object("startLine", startLine={"type": "integer", "minimum": 1})
# 3.4: a URI reference of RFC 3986, relative where its root is not said
URI = {"type": "string", "pattern": r"^(?:[A-Za-z0-9/._~-]|%[0-9A-F]{2})+$"}
SARIF = an_object(
    # 3.13
    "version runs",
    **{"$schema": {"type": "string"}},
    version={"const": "2.1.0"},
    runs={
        "type": "array",
        "items": an_object(
            # 3.14: a run has its tool; 3.14.27 and 3.19
            "tool",
            tool=an_object(
                "driver",
                driver=an_object(
                    "name",
                    name=SAID,
                    rules={
                        "type": "array",
                        "uniqueItems": True,
                        "items": an_object("id", id=SAID, shortDescription=MESSAGE),
                    },
                ),
            ),
            columnKind={"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
            results={
                "type": "array",
                # 3.27
                "items": an_object(
                    "message",
                    ruleId=SAID,
                    ruleIndex={"type": "integer", "minimum": -1},
                    level={"enum": ["none", "note", "warning", "error"]},
                    message=MESSAGE,
                    partialFingerprints={
                        "type": "object",
                        "additionalProperties": {"type": "string"},
                    },
                    locations={
                        "type": "array",
                        "items": an_object(
                            "",
                            physicalLocation=an_object(
                                "artifactLocation",
                                artifactLocation=an_object("", uri=URI),
                                region=REGION,
                            ),
                        ),
                    },
                ),
            },
        ),
    },
)


# the schema of 2.1.0 as it stands, from Microsoft's npm package @microsoft/jest-sarif 1.0.0-beta.0
# (MIT): the one above has fewer elements, and more of what the text asks of them
PUBLISHED = Draft4Validator(
    json.loads(
        (Path(__file__).parent / "data" / "sarif-2.1.0-rtm.5.json").read_text(encoding="utf-8")
    )
)


def scanned(text: str) -> dict[str, Any]:
    """The one run of a file of SARIF."""
    data = json.loads(text)
    for schema in (Draft202012Validator(SARIF), PUBLISHED):
        found = [f"{error.json_path}: {error.message}" for error in schema.iter_errors(data)]
        assert found == []
    (only,) = data["runs"]
    for result in only["results"]:
        # 3.27.6: the index is that of the rule
        assert only["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    return only


@pytest.mark.parametrize("name", RESULTS)
def test_every_result_keeps_the_schemas(name: str) -> None:
    result = RESULTS[name]()
    parsed(render(result, "junit"))
    scanned(render(result, "sarif"))


@pytest.mark.parametrize("text", ["", " a  b ", "x<&>\"'", "a:b\\c d/ü%", "\x00\n\ud800", "]]>"])
def test_every_text_keeps_the_schemas(text: str) -> None:
    class Judging(vitcost.Report):
        def __init__(self) -> None:
            pass

        def page(self) -> Page:
            notes = [Annotation(each, text, text, text, 3) for each in ("error", "warning")]
            cases = [Case(text, text, note, done) for note in notes for done in (False, True)]
            return Page(text, cases=(*cases, Case(text, text)))

    (suite,) = parsed(render(Judging(), "junit"))
    counts = [suite.get(name) for name in ("tests", "failures", "errors", "skipped")]
    assert counts == ["5", "1", "1", "2"]
    assert len(scanned(render(Judging(), "sarif"))["results"]) == 4


BUDGETS = """\
[[tool.vitcost.budget]]
name = "small"
model = "vit_tiny_patch16_224"
params = "5 M"
macs = "2 G"
tokens = 1
torchsummary_params = "baseline"

[[tool.vitcost.budget]]
name = "known"
model = "vit_tiny_patch16_224"
params = 5
level = "warn"
"""
# timm's table has 5,717,416 parameters for it
SAID_OF_IT = "params is 717,416 over the limit of 5,000,000; raise the limit at b.toml:4"


@pytest.fixture
def budgets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("b.toml").write_text(BUDGETS, encoding="utf-8")
    return tmp_path


def test_one_run_writes_all_of_them(budgets: Path, capsys: Captured) -> None:
    files = ["junit:j", "s.sarif", "markdown:m", "a.json"]
    args = ["budget", "--config", "b.toml", "--format", "github"]
    # one quantity has no answer
    assert run([*args, *(word for file in files for word in ("--also", file))]) == 2
    out = capsys.readouterr().out
    assert out.startswith("::error file=b.toml,line=4,")
    small, known = parsed(Path("j").read_text(encoding="utf-8"))
    kinds = [[each.tag for each in case] for case in small.findall("testcase")]
    assert kinds == [["failure"], [], ["failure"], ["error"]]
    assert small.find("testcase/failure").get("message") == SAID_OF_IT  # type: ignore[union-attr]
    assert [[each.tag for each in case] for case in known.findall("testcase")] == [["skipped"]]
    found = scanned(Path("s.sarif").read_text(encoding="utf-8"))["results"]
    lines = [each["locations"][0]["physicalLocation"]["region"]["startLine"] for each in found]
    assert lines == [4, 6, 7, 12]
    assert [each["level"] for each in found] == ["error", "error", "error", "warning"]
    assert SAID_OF_IT in found[0]["message"]["text"]
    assert "5,717,416" in Path("m").read_text(encoding="utf-8")
    assert json.loads(Path("a.json").read_text(encoding="utf-8"))["ok"] is False


def test_exit_zero_is_of_failures_and_not_of_errors(budgets: Path, capsys: Captured) -> None:
    assert run(["budget", "--config", "b.toml", "--exit-zero"]) == 2
    Path("b.toml").write_text(BUDGETS.replace("torchsummary_params", "#"), encoding="utf-8")
    assert run(["budget", "--config", "b.toml"]) == 1
    assert run(["budget", "--config", "b.toml", "--exit-zero"]) == 0
    assert "EXCEEDED" in capsys.readouterr().out
    assert run(["budget", "--config", "none.toml", "--exit-zero"]) == 2


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("budget", "--also", "markdwn:x.md"), "did you mean markdown?"),
        (("budget", "--also", "junit:"), "--also names a format and a file"),
        (("budget", "--also", "x.foo"), "no format for the suffix '.foo'"),
        (("budget", "--also", "csv:x.md"), "contradicts 'x.md'"),
        (("budget", "--also", "x.md", "--also", "markdown:x.md"), "one file twice"),
        (("budget", "--also", "x.md", "-o", "x.md"), "-o and --also are both 'x.md'"),
        (("budget", "--why", "--also", "x.csv"), "--why cannot be shown in csv"),
        (("report", "vit_tiny_patch16_224", "--also", "x.xml"), "judges nothing: add --check"),
        (("models", "-q", "--also", "x.md"), "-q prints only names"),
    ],
)
def test_what_cannot_be_written_too(
    args: tuple[str, ...], said: str, budgets: Path, capsys: Captured
) -> None:
    assert run(list(args)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert sorted(path.name for path in budgets.iterdir()) == ["b.toml"]


def test_every_command_writes_its_answer_to_files_too(budgets: Path, capsys: Captured) -> None:
    for args in (
        ["report", "vit_tiny_patch16_224"],
        ["compare", "vit_tiny_patch16_224", "--vary", "batch=1:2000:+1", "--quantities", "params"],
        ["gpus", "h200"],
    ):
        assert run([*args, "--brief", "--also", "x.md"]) == 0
        assert Path("x.md").read_text(encoding="utf-8").startswith("## ")
        Path("x.md").unlink()


# --- budgets of every quantity


@pytest.mark.parametrize("model", ["formula", "traced"])
def test_a_budget_is_of_every_quantity(model: str, budgets: Path) -> None:
    """Its number is that of the report; a quantity that has none says why, and stops no other."""
    name = "vit_tiny_patch16_224"
    keywords: dict[str, Any] = {"batch": 2, "gpu": "l4"}
    if model == "traced":
        pytest.importorskip("torch")
        name = "small:build"
        Path("small.py").write_text(
            "from torch import nn\n\ndef build():\n"
            "    return nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.ReLU(), nn.Flatten(), "
            "nn.Linear(16, 5))\n",
            encoding="utf-8",
        )
        keywords["img_size"] = 8
    said = "".join(f"{key} = {json.dumps(value)}\n" for key, value in keywords.items())
    none = {"bytes": '"0 B"'}
    limits = "".join(f"{n} = {none.get(row.unit, '0')}\n" for n, row in QUANTITIES.items())
    Path("b.toml").write_text(
        f'[[tool.vitcost.budget]]\nmodel = "{name}"\n{said}{limits}', encoding="utf-8"
    )
    found = {check.quantity: check for check in vitcost.budget("b.toml").checks}
    report = vitcost.report(name, **keywords)
    assert list(found) == list(QUANTITIES)
    for quantity, check in found.items():
        assert check.value == QUANTITIES[quantity].read(report)
        # every limit is 0: the least of a rate, and kept by an amount of nothing
        kept = () if QUANTITIES[quantity].more or check.value == 0 else ("exceeded",)
        assert check.verdicts == (("no answer",) if check.value is None else kept)
        assert (check.missing is None) == (check.value is not None)
    left = [quantity for quantity, check in found.items() if check.value is None]
    # of a price, of a run and of a step in training nothing was said
    unsaid = ["cost_per_million_images", "gpu_hours", "cost"]
    assert left == [*([] if model == "formula" else ["torchsummary_params", "tokens"]), *unsaid]
