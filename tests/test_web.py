"""``vitcost web``: the folder, its answers in Python, and the page in a real browser."""

import ast
import gzip
import json
import math
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import timm
import torch
from web_support import browsing, pyodide, questions, said_by_python, serving, unpack

import vitcost
from vitcost.cli import run
from vitcost.config.scenario import Scenario
from vitcost.costs.quantities import QUANTITIES
from vitcost.engine.workload import workload
from vitcost.errors import ConfigError
from vitcost.outside.version import VERSION
from vitcost.page import shown
from vitcost.planner.budget import budget
from vitcost.planner.largest import largest_convex
from vitcost.render.mathml import mathml
from vitcost.web import _PARTLY, PYODIDE, RUNTIME, packed, web
from vitcost.web.answer import answer, as_budget, as_command, as_python, asked_of
from vitcost.web.controls import CONTROLS, FIRST, given
from vitcost.web.formula import formulas_of
from vitcost.web.served import _Quiet
from vitcost.zoo import resolve

BASE = "vit_base_patch16_224"
MIB = 2**20


def same(one: Any, other: Any, path: str = "") -> Iterator[str]:
    """Where two values of JSON differ: integers are equal, seconds and ratios to 12 digits."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for key in one:
            yield from same(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for i, pair in enumerate(zip(one, other, strict=True)):
            yield from same(*pair, f"{path}.{i}")
    elif isinstance(one, float) and isinstance(other, float):
        if not math.isclose(one, other, rel_tol=1e-12):
            yield f"{path}: {one} {other}"
    elif one != other or type(one) is not type(other):
        yield f"{path}: {one!r:.80} {other!r:.80}"


# --- the folder


def test_the_same_files_are_packed_as_the_same_bytes_and_none_that_needs_torch() -> None:
    pack = packed()
    assert pack == packed()
    with tarfile.open(fileobj=BytesIO(pack)) as archive:
        names = archive.getnames()
    assert {"vitcost/costs/report.py", "vitcost/zoo/timm/vit.py", "vitcost/web/answer.py"} <= {
        *names
    }
    parts = {name.split("/")[1] for name in names}
    assert not parts & {"cli", "check", "formulas"}
    # of a folder of many questions the modules of those that the page asks
    assert "vitcost/planner/fit.py" in names
    assert not {
        "vitcost/planner/plan.py",
        "vitcost/pages/plan_page.py",
        "vitcost/render/table.py",
    } & {*names}
    assert "vitcost/traced/record.py" not in names
    assert "vitcost/traced/file.py" in names


def bare(source: bytes) -> str:
    """The code of a file without its docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:]
    return ast.dump(tree)


def test_every_module_that_is_packed_by_its_name_exists() -> None:
    root = Path(vitcost.__file__).parent
    for folder, modules in _PARTLY.items():
        missing = [name for name in modules.split() if not (root / folder / f"{name}.py").is_file()]
        assert not missing, folder


def test_a_packed_file_is_the_library_s_but_for_the_examples_of_docstrings() -> None:
    root = Path(vitcost.__file__).parents[1]
    with tarfile.open(fileobj=BytesIO(packed())) as archive:
        for member in archive.getmembers():
            file = archive.extractfile(member)
            assert file is not None
            source, whole = file.read(), (root / member.name).read_bytes()
            assert bare(source) == bare(whole)
            assert b">>> " in whole or source == whole
            assert not re.search(rb"^ *>>> ", source, re.MULTILINE)


def test_the_folder_is_small_and_says_its_version(tmp_path: Path) -> None:
    site = web(str(tmp_path / "site"))
    root = Path(site.folder)
    assert {path.name for path in root.iterdir()} == {*site.files}
    # as a server sends them: the limit of the page's own part
    later = {"digest.bin", "hub_digest.bin"}
    own = {*site.files} - later
    assert len(own) == 6
    sent = sum(len(gzip.compress((root / name).read_bytes())) for name in own)
    assert sent <= 500_000
    page = (root / "index.html").read_text(encoding="utf-8")
    assert f"vitcost {VERSION}" in page
    assert f"https://cdn.jsdelivr.net/pyodide/v{PYODIDE}/full/" in page
    assert "{{" not in page
    # the first answer stands there before Python does
    report = vitcost.report(FIRST["model"], **given(FIRST))
    assert f"{report.params:,}" in page
    assert f"{report.training.peak_bytes:,}" in page
    # nothing in the page runs but its own file
    assert re.findall(r"<script[^>]*>", page) == ['<script src="page.js" type="module">']
    # every file is kept for a while offline
    kept = (root / "sw.js").read_text(encoding="utf-8")
    assert all(f'"{name}"' in kept for name in ("./", "page.js", "worker.js", "vitcost.pack"))
    assert all(f"/full/{name}" in kept for name in RUNTIME)
    # but for digests, which a name asks for
    assert not any(f'"{name}"' in kept.partition("LATER")[0] for name in later)
    assert 'LATER = ["digest.bin", "hub_digest.bin"]' in kept


def test_pyodide_is_copied_or_refused(tmp_path: Path) -> None:
    release = tmp_path / "release"
    release.mkdir()
    with pytest.raises(ConfigError, match=r"no folder of Pyodide: it has no pyodide\.mjs"):
        web(str(tmp_path / "site"), pyodide=str(release))
    for name in RUNTIME:
        (release / name).write_bytes(b"1")
    site = web(str(tmp_path / "site"), pyodide=str(release))
    assert (tmp_path / "site/pyodide/pyodide.asm.wasm").read_bytes() == b"1"
    files = sum(size for name, size in site.files.items() if not name.endswith("digest.bin"))
    assert site.own_bytes == files - len(RUNTIME)
    worker = (tmp_path / "site/worker.js").read_text(encoding="utf-8")
    assert 'from "./pyodide/pyodide.mjs"' in worker
    # a policy that lets nothing else in
    page = (tmp_path / "site/index.html").read_text(encoding="utf-8")
    assert "http" not in re.findall(r'Policy" content="([^"]*)"', page)[0]
    with pytest.raises(ConfigError, match="cannot write"):
        web(str(release / RUNTIME[0]))


def test_the_command_writes_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["web", str(tmp_path / "site")]) == 0
    assert re.fullmatch(
        r".*site: 8 files, [\d.]+ KiB beside Python's own and [\d.]+ MiB of digests, .*\n",
        capsys.readouterr().out,
    )
    assert run(["web"]) == 2
    assert "give the FOLDER that is written, or --open" in capsys.readouterr().err


def test_it_is_served_on_the_loopback_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = []

    def browse(address: str) -> None:
        opened.append(address)
        # what a shell sends for Ctrl-C
        raise KeyboardInterrupt

    monkeypatch.setattr("webbrowser.open_new_tab", browse)
    assert run(["web", "--open"]) == 0
    (address,) = opened
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
    assert f"{address} (Ctrl-C ends it)" in capsys.readouterr().err


def test_files_have_the_types_that_browsers_ask_of_them(tmp_path: Path) -> None:
    for name in ("a.mjs", "a.wasm", "vitcost.pack"):
        (tmp_path / name).write_bytes(b"1")
    with serving(str(tmp_path)) as address:
        found = []
        for name in ("a.mjs", "a.wasm", "vitcost.pack"):
            with urlopen(f"{address}{name}") as served:
                found.append(served.headers["Content-Type"])
    assert found == ["text/javascript", "application/wasm", "application/octet-stream"]


def test_an_answer_needs_what_is_packed_and_the_standard_library(tmp_path: Path) -> None:
    with tarfile.open(fileobj=BytesIO(packed())) as archive:
        unpack(archive, tmp_path)
    question = dict(FIRST) | {"batch": "4096", "other": "gpt2"}
    script = (
        f"import sys, json\nsys.path.insert(0, {str(tmp_path)!r})\n"
        "from vitcost.web.answer import asked_of, in_full\n"
        f"question = {question!r}\n"
        "first = json.loads(asked_of(json.dumps(question)))\n"
        "rest = json.loads(asked_of(json.dumps(question | {'rest': True})))\n"
        "assert not any(column['error'] for column in (*first, *rest))\n"
        "assert 'error' not in json.loads(in_full(json.dumps(question)))\n"
        "assert 'vitcost.cli' not in sys.modules\n"
    )
    # neither what is installed nor what the environment names
    done = subprocess.run([sys.executable, "-IS", "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


# --- what the page says


def test_an_answer_is_the_reports() -> None:
    column = answer(BASE, FIRST)
    report = vitcost.report(BASE, **given(FIRST))
    (time,) = report.time
    assert f"{time.images_per_second:,.0f} images/s, fits" in column.html
    assert "largest batch 336" in column.html
    (row,) = vitcost.fit(BASE, **given(FIRST)).found
    assert row.largest_batch == 336
    assert "Memory over a training step" in column.html
    assert all(f"<title>{name}: " in column.html for name in ("workspace", "context", "slack"))


def test_what_would_make_it_fit_is_in_the_second_part() -> None:
    question = dict(FIRST) | {"batch": "512"}
    assert "does not fit" in answer(BASE, question).html
    rest = answer(BASE, question, rest=True).html
    ways = vitcost.fit(BASE, **given(question)).found[0].ways
    first = ", ".join(f"{name} {value}" for name, value in ways[0].flags)
    assert re.search(r"<td>rtx4090</td><td>([^<]*)</td>", rest)[1] == first  # type: ignore[index]


def test_a_card_that_is_its_memory_alone_has_a_verdict() -> None:
    flags = {"gpu": "mine,memory_gb=8", "mode": "train", "batch": "64"}
    html = answer(BASE, flags).html
    (row,) = vitcost.fit(BASE, **given(flags)).found
    assert f"mine holds {row.largest_batch} images" in html
    assert f"a batch of 64: {row.verdict}" in html


def test_two_models_stand_on_one_roofline() -> None:
    question = dict(FIRST) | {"other": "vit_large_patch16_224"}
    one, other = json.loads(asked_of(json.dumps(question | {"rest": True})))
    assert "Roofline, rtx4090" in one["both"]
    for name in (BASE, "vit_large_patch16_224"):
        assert f"<title>{name} blocks.mlp, bound by " in one["both"]
    assert other["both"] == ""


@pytest.mark.parametrize(
    "question",
    [
        {"model": "vit_bse_patch16_224"},
        {"model": ""},
        {"model": BASE, "batch": "none"},
        {"model": BASE, "img_size": "230"},
        {"model": BASE, "precision": "fp99"},
        {"model": BASE, "gpu": "h1000"},
        {"model": BASE, "zero": "1"},
        {"model": BASE, "colour": "red"},
        {"model": "no/such/config.json"},
    ],
    ids=str,
)
def test_a_mistake_has_the_message_of_every_other_door(question: dict[str, str]) -> None:
    (column,) = json.loads(asked_of(json.dumps(question)))
    rest = {name: value for name, value in given(question).items() if name != "model"}
    with pytest.raises(vitcost.VitcostError) as refused:
        vitcost.report(question["model"], **rest)
    assert column["error"] == str(refused.value)
    assert column["html"] == ""


def test_code_is_not_run_from_an_address() -> None:
    (column,) = json.loads(asked_of(json.dumps({"model": "os:getcwd"})))
    assert "vitcost trace os:getcwd -o FILE" in column["error"]


def test_markup_in_a_question_stays_text() -> None:
    bad = "<img src=x onerror=alert(1)>"
    for question in ({"model": bad}, {"model": BASE, "gpu": f"{bad},memory_gb=8"}):
        (column,) = json.loads(asked_of(json.dumps(question)))
        assert "<img" not in column["html"]
    rest = answer(BASE, {"gpu": f"{bad},memory_gb=8,fp32_tflops=9,bandwidth_gbps=9"}, rest=True)
    assert "<img" not in rest.html
    assert "&lt;img" in rest.html


def test_a_question_elsewhere_has_the_same_answer(tmp_path: Path, capsys: Any) -> None:
    flags = given(dict(FIRST) | {"img_size": "384", "zero": "0", "lora": "0"})
    own = vitcost.report(BASE, **flags)
    command = as_command(BASE, flags)
    assert "--zero" not in command
    assert run([*command.split()[1:], "--json"]) == 0
    assert [*same(json.loads(capsys.readouterr().out), json.loads(json.dumps(own.to_dict())))] == []
    scope: dict[str, Any] = {}
    exec(as_python(BASE, flags), scope)
    assert scope["report"].to_dict() == own.to_dict()
    config = tmp_path / "pyproject.toml"
    text = as_budget(BASE, flags, own)
    config.write_text(text, encoding="utf-8")
    assert budget(config=str(config)).ok
    config.write_text(text.replace(f"params = {own.params}", f"params = {own.params - 1}"))
    assert not budget(config=str(config)).ok


@pytest.mark.parametrize(
    "name", [BASE, "vit_base_patch16_rope_mixed_224", "beit_base_patch16_224", "gpt2"]
)
def test_formulas_give_the_numbers_of_the_report(name: str) -> None:
    scenario = Scenario(batch=8)
    found = formulas_of(resolve(name), scenario)
    report = vitcost.report(name, batch=8)
    sizes = workload(resolve(name).config, scenario).sizes
    for quantity, value in (("params", report.params), ("flops", report.flops.forward)):
        letters, numbers, result = found[quantity]
        assert int(result) == value
        # both are sums of products in Python's own letters
        assert eval(numbers, {}) == value
        assert eval(letters, {}, dict(sizes)) == value


def test_formulas_of_a_pair_are_set_as_formulas() -> None:
    spelled = formulas_of(resolve("openai/clip-vit-base-patch16"), Scenario(batch=8))
    report = vitcost.report("openai/clip-vit-base-patch16", batch=8)
    for quantity, value in (("params", report.params), ("flops", report.flops.forward)):
        letters, numbers, result = spelled[quantity]
        assert eval(numbers, {}) == int(result) == value
        assert "<mtext>text</mtext>" in (mathml(letters) or "")


def test_what_would_make_a_pair_fit_takes_few_batches() -> None:
    """The logits of a pair are a square of its batch: from far away each step halves alone."""
    asked: list[int] = []

    def square(batch: int) -> int:
        asked.append(batch)
        return 10**9 + 10**8 * batch + 12 * batch**2

    # 229: the root of 12 b² + 10⁸ b = 23 · 10⁹ is 229.99
    assert largest_convex(square, [24 * 10**9], 2) == {24 * 10**9: 229}
    assert len(asked) <= 6


def test_every_control_is_a_keyword() -> None:
    known = {*Scenario.__dataclass_fields__, "model", "other", "gpu", "img_size", "num_classes"}
    assert {control.name for control in CONTROLS} <= known


# --- in a browser


class Tab:
    """The page in a tab, with all that the browser had to say, and all that it asked for."""

    def __init__(self, browser: Any, address: str) -> None:
        self.address = address
        self.context = browser.new_context(viewport={"width": 1280, "height": 900})
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.served: list[str] = []  # the requests that the server had
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: self.said.append(dialog.message))
        self.context.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)
        try:
            self.shown("#columns[data-took]")
        except Exception as error:
            raise AssertionError((self.page.inner_text("#state"), self.said)) from error

    def shown(self, condition: str, state: Any = "visible") -> None:
        self.page.wait_for_selector(condition, state=state, timeout=90_000)

    def json(self, question: dict[str, str]) -> Any:
        text = self.page.evaluate("question => window.vitcost.full(question)", question)
        return json.loads(text)


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    folder = tmp_path_factory.mktemp("web")
    site = web(str(folder / "site"), pyodide=pyodide(folder))
    with browsing() as browser, serving(site.folder) as address:
        served: list[str] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_Quiet, "log_message", lambda _, __, *a: served.append(str(a[0])))
            found = Tab(browser, address)
            found.served = served
            yield found


@pytest.mark.slow
def test_the_page_has_the_numbers_of_the_json(tab: Tab) -> None:
    answered = 0
    for question in questions(50):
        keywords = given(question)
        wanted = said_by_python(lambda q=question, k=keywords: vitcost.report(q["model"], **k))
        assert [*same(tab.json(question), wanted)] == [], question
        answered += "error" not in wanted
    assert answered >= 25


def numbers(tab: Tab) -> dict[str, Any]:
    """The exact numbers that the page shows."""
    rows = tab.page.evaluate(
        "() => [...document.querySelectorAll('.rest details tr')].slice(1)"
        ".map(row => [...row.children].map(cell => cell.textContent))"
    )
    return {name: float(text) if "." in text else int(text.replace(",", "")) for name, text in rows}


@pytest.mark.slow
def test_what_is_typed_is_answered_and_kept_in_the_address(tab: Tab) -> None:
    page = tab.page
    page.goto(tab.address + "#model=vit_tiny_patch16_224&batch=3&mode=infer&gpu=l4")
    tab.shown("article h1:text-is('vit_tiny_patch16_224')")
    assert page.input_value("#batch") == "3"
    assert page.is_disabled("#optimizer")
    page.select_option("#mode", "train")
    page.fill("#batch", "7")
    page.fill("#checkpointing", "block")
    tab.shown("pre:has-text('--checkpointing block')")
    assert "batch=7" in page.url
    report = vitcost.report(
        "vit_tiny_patch16_224", batch=7, mode="train", checkpointing="block", gpu="l4"
    )
    shown = numbers(tab)
    data = report.to_dict()
    wanted = {name: quantity.read(data) for name, quantity in QUANTITIES.items()}
    assert [*same(shown, {n: v for n, v in wanted.items() if v is not None})] == []
    # the address brings the question back
    page.reload()
    tab.shown("pre:has-text('--checkpointing block')")
    assert (page.input_value("#batch"), page.input_value("#mode")) == ("7", "train")
    # a slider moves its number, and a second model stands beside the first
    page.focus("[data-of=batch]")
    page.keyboard.press("ArrowRight")
    assert page.input_value("#batch") == str(round(2 ** (round(2 * math.log2(7) + 1) / 2)))
    page.fill("#other", "vit_small_patch16_224")
    tab.shown("article + article h1:text-is('vit_small_patch16_224')")
    tab.shown("#both h2:text-is('Roofline, l4')")
    tops = page.evaluate("() => [...document.querySelectorAll('article')].map(a => a.offsetTop)")
    assert tops[0] == tops[1]
    page.fill("#other", "")


@pytest.mark.slow
def test_a_mistake_is_one_message(tab: Tab, capsys: pytest.CaptureFixture[str]) -> None:
    tab.page.fill("#model", "vit_bse_patch16_224")
    tab.shown("p.error:has-text('unknown model')")
    # what stood there stays, paler, so that nothing jumps
    assert tab.page.locator(".first.stale h1").count() == 1
    assert run(["report", "vit_bse_patch16_224", "-g", "l4"]) == 2
    assert capsys.readouterr().err == f"Error: {tab.page.inner_text('p.error')}\n"
    tab.page.fill("#model", BASE)
    tab.shown(f".first:not(.stale) h1:text-is('{BASE}')")
    assert tab.page.inner_text("p.error") == ""


DROP = """([name, text, size]) => {
  const data = new DataTransfer();
  data.items.add(new File([size ? new Uint8Array(size) : Uint8Array.from(
    text, sign => sign.charCodeAt())], name));
  document.body.dispatchEvent(new DragEvent("drop", {bubbles: true, dataTransfer: data})) }"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "text", "size", "said"),
    [
        ("<img src=x onerror=alert(1)>.json", '{"<script>alert(1)</script>": 1}', 0, "unknown"),
        ("big.json", "", 100_000_000, "larger than 4,194,304 bytes, so no model's config"),
        ("deep.json", '{"a":' * 100_000, 0, "nested deeper than"),
        ("bad.toml", "a = [" * 60_000, 0, "larger than 65,536 bytes"),
        ("../../etc/passwd.json", "\0", 0, "not JSON"),
        ("bomb.json.gz", "\x1f\x8b\x08", 0, "not gzip"),
    ],
)
def test_a_dropped_file_harms_nothing(tab: Tab, name: str, text: str, size: int, said: str) -> None:
    tab.page.evaluate(DROP, [name, text, size])
    tab.shown(f"p.error:has-text({json.dumps(said)})")
    # and the next question is answered
    tab.page.fill("#model", "vit_tiny_patch16_224")
    tab.shown(".first:not(.stale) h1:text-is('vit_tiny_patch16_224')")


# a config of transformers, of two layers
HUB = {
    "model_type": "vit", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 128, "image_size": 32, "patch_size": 8,
}  # fmt: skip


def params_of(name: str) -> int:
    """The parameters of a model of timm, by torch."""
    with torch.device("meta"):
        return sum(p.numel() for p in timm.create_model(name).parameters())


@pytest.mark.slow
def test_a_dropped_config_and_a_saved_report_are_read(tab: Tab, tmp_path: Path) -> None:
    own, hub, traced = (tmp_path / name for name in ("own.toml", "config.json", "own.json.gz"))
    own.write_text(f'base = "{BASE}"\ndepth = 3\n', encoding="utf-8")
    hub.write_text(json.dumps(HUB), encoding="utf-8")
    assert run(["trace", "resnet10t", "-o", str(traced)]) == 0
    saved = vitcost.report("vit_small_patch16_224", batch=2)
    tab.page.goto(f"{tab.address}#model={BASE}&gpu=l4&batch=1")
    for file, text, params in (
        (own.name, own.read_text(encoding="utf-8"), vitcost.report(str(own)).params),
        ("saved.json", json.dumps(saved.to_dict()), saved.params),
        (hub.name, hub.read_text(encoding="utf-8"), vitcost.report(str(hub)).params),
        # a binary file, each byte as a character
        (traced.name, traced.read_bytes().decode("latin-1"), params_of("resnet10t")),
    ):
        tab.page.evaluate(DROP, [file, text, 0])
        tab.shown(f".rest details td:text-is('{params:,}')", "attached")


@pytest.mark.slow
def test_a_new_python_has_the_files_and_says_why_it_is_new(tab: Tab) -> None:
    page = tab.page
    page.evaluate(DROP, ["kept.toml", f'base = "{BASE}"\ndepth = 5\n', 0])
    tab.shown(".first:not(.stale) h1:has-text('kept')")
    page.evaluate("window.vitcost.again('no answer')")
    tab.shown("#state:text-is('no answer: Python was started again')")
    page.fill("#batch", "9")
    tab.shown(".rest:not(.stale) pre:has-text('--batch 9')")
    assert page.inner_text("p.error") == page.inner_text("#state") == ""
    wanted = vitcost.report(BASE, depth=5).params
    tab.shown(f".rest details td:text-is('{wanted:,}')", "attached")


@pytest.mark.slow
def test_a_pair_is_drawn_and_has_ways_to_fit(tab: Tab) -> None:
    asked: dict[str, Any] = {"batch": 256, "mode": "train", "precision": "amp-bf16"}
    name = "openai/clip-vit-base-patch16"
    report = vitcost.report(name, gpu="rtx4090", **asked)
    peak = shown(report.training.peak_bytes, "bytes")
    tab.page.goto(f"{tab.address}#model={name}&gpu=rtx4090&batch=256&mode=train&precision=amp-bf16")
    tab.shown(f".first p.most:text-is('peak {peak}: {report.training.peak_at}')")
    ways = vitcost.fit(name, gpu="rtx4090", **asked).found[0].ways
    first = ", ".join(f"{name} {value}" for name, value in ways[0].flags)
    tab.shown(
        f".rest:not(.stale) section:has(h2:has-text('Changes that make')) td:text-is('{first}')"
    )


@pytest.mark.slow
def test_a_pointer_is_told_what_is_below_it(tab: Tab) -> None:
    page = tab.page
    page.goto(tab.address + "#model=vit_tiny_patch16_224&batch=7&mode=train&gpu=l4")
    tab.shown(".rest:not(.stale) pre:has-text('--batch 7')")
    titles = "() => [...document.querySelectorAll('#columns title')].map(t => t.textContent)"
    before = page.evaluate(titles)
    for mark in (".at", ".point", ".bars rect"):
        said = page.locator(f"#columns {mark} title").first.text_content()
        page.locator(f"#columns {mark}").first.hover(force=True)
        tab.shown("#here")
        assert page.inner_text("#here") == said.strip()
    page.mouse.move(1, 1)
    tab.shown("#here", "hidden")
    assert page.evaluate(titles) == before


@pytest.mark.slow
def test_the_first_answer_is_not_said_of_another_question(tab: Tab) -> None:
    page = tab.page
    page.goto("about:blank")
    page.goto(f"{tab.address}#model=vit_tiny_patch16_224&gpu=l4&batch=3", wait_until="commit")
    page.wait_for_function("() => window.vitcost")
    assert "rtx4090" not in page.inner_text("#said")
    tab.shown(".first:not(.stale) h1:text-is('vit_tiny_patch16_224')")
    assert page.inner_text("#said").startswith("l4: ")


@pytest.mark.slow
def test_a_phone_has_the_answer_in_sight_of_the_sliders(tab: Tab) -> None:
    page = tab.page
    page.set_viewport_size({"width": 375, "height": 700})
    page.evaluate("scrollTo(0, 0)")
    said = page.locator("#said")
    assert "images/s" in said.inner_text()
    box = said.bounding_box()
    assert box is not None
    assert 0 < box["y"] < box["y"] + box["height"] <= 700
    page.set_viewport_size({"width": 1280, "height": 900})


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_no_width_scrolls(tab: Tab, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = tab.page
    page.emulate_media(color_scheme=scheme)
    page.fill("#other", "vit_small_patch16_224")
    page.fill("#batch", "4096")
    tab.shown("article + article .rest:not(.stale) pre:has-text('--batch 4096')")
    # an answer that is being computed anew is pale
    tab.shown("body:not(:has(.stale))")
    for width in (375, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width
        found = Axe().run(page).response["violations"]
        assert [(each["id"], each["nodes"][0]["html"][:200]) for each in found] == []
    page.fill("#other", "")


@pytest.mark.slow
def test_a_digest_is_fetched_when_a_name_asks_for_it(
    tab: Tab, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetched() -> list[str]:
        # by the server, which sees what a service worker asks for too
        return [line.split()[1][1:] for line in tab.served if "digest.bin" in line]

    page = tab.page
    assert fetched() == []
    page.goto(tab.address + "#model=resnet10t&batch=8&mode=train&gpu=l4&num_classes=10")
    tab.shown("article h1:text-is('resnet10t with num_classes 10')")
    assert fetched() == ["digest.bin"]
    asked: dict[str, Any] = {"batch": 8, "mode": "train", "gpu": "l4"}
    for name, field in (("resnet10t.c3_in1k", {}), ("facebook/levit-128S", {"precision": "bf16"})):
        own = tab.json({"model": name, **{k: str(v) for k, v in {**asked, **field}.items()}})
        assert [
            *same(own, json.loads(json.dumps(vitcost.report(name, **asked, **field).to_dict())))
        ] == []
    assert fetched() == ["digest.bin", "hub_digest.bin"]
    # the message of the command line where no timm is installed
    monkeypatch.setattr("vitcost.zoo.tracing.of_timm", lambda name: None)
    page.goto(tab.address + "#model=resnet10t&gpu=l4&img_size=64")
    tab.shown("p.error:has-text('pip install')")
    assert run(["report", "resnet10t", "-g", "l4", "--img-size", "64"]) == 2
    assert capsys.readouterr().err == f"Error: {page.inner_text('p.error')}\n"
    assert len(fetched()) == 2


@pytest.mark.slow
def test_it_works_offline_and_says_nothing(tab: Tab) -> None:
    """The last of them: whatever came before asked the loopback alone, and raised no error."""
    tab.shown("#offline:text-is('It works offline now.')")
    tab.context.set_offline(True)
    tab.page.goto(tab.address + "#model=vit_small_patch16_224&batch=5")
    tab.page.reload()
    tab.shown("#columns[data-took] h1:text-is('vit_small_patch16_224')")
    # a digest that was asked for is kept too
    tab.page.goto(tab.address + "#model=resnet10t&batch=5")
    tab.shown("#columns[data-took] h1:text-is('resnet10t')")
    tab.context.set_offline(False)
    assert tab.said == []
    assert {url.split("/")[2] for url in tab.asked} == {tab.address.split("/")[2]}
