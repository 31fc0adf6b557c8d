"""Every name of timm: patterns over names, lists of models, all of them, and their tags."""

import csv
import io
import json
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

import vitcost
from vitcost import zoo
from vitcost.cli import run
from vitcost.errors import ConfigError, UnknownName
from vitcost.planner import named
from vitcost.planner.grid import Grid
from vitcost.planner.pareto import said
from vitcost.render import render
from vitcost.zoo import digests, every_name
from vitcost.zoo.patterns import is_pattern, matches
from vitcost.zoo.timm import architectures
from vitcost.zoo.timm.others import OTHERS
from vitcost.zoo.timm.tagged import TAGS, Tag, tag_of, tags

Captured = pytest.CaptureFixture[str]
TINY, SMALL = "deit_tiny_patch16_224", "deit_small_patch16_224"


def answer(capsys: Captured, *args: str) -> str:
    assert run(["compare", *args]) == 0
    return capsys.readouterr().out


def data(capsys: Captured, *args: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer(capsys, *args, "--json"))
    return found


def refused(capsys: Captured, *args: str) -> str:
    assert run(["compare", *args]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()[-1]


# --- patterns


def test_a_pattern_is_every_name_that_the_shell_would_match() -> None:
    for pattern in ("swin*", "vit_[bl]*_384", "convnext_????", "ViT-B*"):
        assert matches(pattern) == [n for n in every_name() if fnmatchcase(n, pattern)] != []
    # timm 1.0.31: swin_transformer 9, its v2 12, its v2_cr 16
    assert len(matches("swin*")) == 9 + 12 + 16
    assert not any(map(is_pattern, every_name()))


def test_a_pattern_with_a_dot_is_of_tags() -> None:
    found = matches("deit3_*_patch16_384.fb_in22k*")
    assert found == [f"deit3_{size}_patch16_384.fb_in22k_ft_in1k" for size in
                     ("base", "large", "small")]  # fmt: skip
    assert matches("convnext_base.*") == [f"convnext_base.{tag}" for tag in tags("convnext_base")]


def test_rows_of_a_pattern_are_those_of_its_names(capsys: Captured) -> None:
    found = data(capsys, "deit_*_patch16_224", TINY, "--batch", "4")
    names = [name for name in matches("deit_*_patch16_224") if name != TINY]
    # a name that is given by itself stands where it is given, once
    assert [row["model"] for row in found["rows"]] == [*names, TINY]
    alone = {row["model"]: row["train_flops"] for row in
             vitcost.compare(*names, TINY, batch=4).rows()}  # fmt: skip
    assert {row["model"]: row["train_flops"] for row in found["rows"]} == alone


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("swinn*",), "unknown model 'swinn*'; did you mean swin"),
        (("zzz*",), "unknown model 'zzz*'; no name matches the pattern"),
        (("--vary", "model=zzz*"), "unknown model 'zzz*'"),
        ((TINY, "--vary", f"model={SMALL}"), "model varies, and models are also given: 'deit_tiny"),
        (("--vary", f"model={SMALL}", "--vary", f"model={TINY}"), "model varies twice"),
        (("--vary", "depth=2,3"), "no MODEL given"),
        (("runs/*.json",), "runs/*.json: no such file"),
    ],
)
def test_one_message(args: tuple[str, ...], said: str, capsys: Captured) -> None:
    assert said in refused(capsys, *args)


# --- models that vary, and all of them


def test_models_vary_as_they_are_named(capsys: Captured) -> None:
    varied = data(capsys, "--vary", f"model={SMALL},{TINY}", "--vary", "batch=1,2")
    plain = data(capsys, SMALL, TINY, "--vary", "batch=1,2")
    assert varied == plain
    assert [row["model"] for row in varied["rows"]] == [SMALL, SMALL, TINY, TINY]
    rows = vitcost.sweep(vary={"model": [SMALL, TINY], "depth": [2, 3]}).rows()
    expected = vitcost.sweep(SMALL, TINY, vary={"depth": [2, 3]}).rows()
    assert list(rows) == list(expected)


def test_all_of_timm_is_every_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    every = named.named([], None, all_timm=True)
    assert list(every.models) == architectures() == sorted({*zoo.timm.names(), *_others()})
    count = len(pytest.importorskip("timm").list_models())
    assert len(every.models) == every.points == count <= every.most
    assert all(map(every.may_lack, every.models))
    with pytest.raises(ConfigError, match="no model"):
        named.named([], None)
    # what is given beside them comes first, once, and is not left out
    beside = named.named([SMALL, "gpt2"], None, all_timm=True)
    assert beside.models[:2] == (SMALL, "gpt2")
    assert len(beside.models) == count + 1
    assert not beside.may_lack(SMALL)
    assert beside.varied == Grid(())


def _others() -> Iterable[str]:
    return (name for names in OTHERS.values() for name in names.split())


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A hundred and some of timm's names."""
    names = [
        name
        for name in zoo.timm.names()
        if name.startswith(("vit_t", "vit_s", "vit_xs", "vit_base_p", "deit"))
    ]
    assert len(names) > 100
    monkeypatch.setattr(zoo.timm, "architectures", lambda: names)
    return names


def test_a_front_over_many_names(few: list[str], capsys: Captured) -> None:
    args = "--all-timm", "--pareto", "macs,images_per_second", "-g", "a100-sxm-80gb"
    rows = data(capsys, *args)["rows"]
    assert [row["model"] for row in rows] == few
    points = [(row["macs"], row["images_per_second"]) for row in rows]
    ahead = [
        row["model"]
        for row, (macs, rate) in zip(rows, points, strict=True)
        # nobody is better in one, and no worse in the other
        if not any((m <= macs and r > rate) or (m < macs and r >= rate) for m, r in points)
    ]
    assert [row["model"] for row in rows if row["pareto"]] == ahead
    table = list(csv.DictReader(io.StringIO(answer(capsys, *args, "--format", "csv"))))
    assert [row["model"] for row in table if row["pareto"].lower() == "true"] == ahead
    # the page has the front alone, by its first quantity
    page = answer(capsys, *args)
    shown = [line.split()[0] for line in page.splitlines() if line.endswith("◂")]
    assert shown == [name for _, name in sorted(zip(
        (m for (m, _), row in zip(points, rows, strict=True) if row["pareto"]), ahead, strict=True,
    ))]  # fmt: skip
    assert "◂: Pareto front of least macs and most images_per_second" in page
    assert f"the Pareto front, {len(ahead)} of {len(few)} rows" in page
    assert page.count("patch") < 30


def test_a_front_of_few_is_marked_among_all(capsys: Captured) -> None:
    page = answer(capsys, "deit_*_224", "--pareto", "params,flops")
    assert "the Pareto front, " not in page
    shown = [line.split()[0] for line in page.splitlines() if line.startswith("deit_")]
    assert shown == matches("deit_*_224")
    assert said(("images_per_second", "params")) == "most images_per_second and least params"


def test_a_name_of_a_pattern_without_an_answer_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    from vitcost.planner.many import Many

    report = Many.report

    def broken(many: Many, model: Any, **flags: Any) -> Any:
        if model == SMALL:
            raise ConfigError("batch 1 has no step; it is 1")
        return report(many, model, **flags)

    monkeypatch.setattr(Many, "report", broken)
    found = vitcost.compare("deit_[st]*_patch16_224", TINY)
    assert [row["model"] for row in found.rows()] == [*matches("deit_[st]*d_patch16_224"), TINY]
    assert [tuple(each) for each in found.skipped] == [("batch has no step", 1)]
    assert "left out, 1: batch has no step" in render(found)
    # one that is named is an error
    with pytest.raises(ConfigError, match="has no step"):
        vitcost.compare(SMALL, TINY)


# --- tags


def test_tags_are_read() -> None:
    assert set(TAGS) <= set(_others())
    # ImageNet-21k in its first release, in timm's own order: the default first
    assert tag_of("swin_base_patch4_window7_224.ms_in22k") == Tag(21841)
    assert tag_of("efficientnet_b0.ra4_e3600_r224_in1k") == Tag(1000)
    assert tag_of("convnext_base.fb_in22k_ft_in1k_384") == Tag(1000, (384, 384))
    with pytest.raises(UnknownName, match="unknown tag of convnext_base 'fb_in22'; did you mean"):
        tag_of("convnext_base.fb_in22")


def test_every_tag_of_timm() -> None:
    models = pytest.importorskip("timm.models")
    others = set(_others())
    known = {f"{name}.{tag}" for name in others for tag in tags(name)}
    # those that have weights, and those that timm knows beside them
    assert {n for n in models.list_pretrained() if n.partition(".")[0] in others} <= known
    for name in sorted(others):
        own = models.get_pretrained_cfg(name)
        assert next(iter(tags(name)), "") == (own.tag or "")
        for tag, read in tags(name).items():
            cfg = models.get_pretrained_cfg(f"{name}.{tag}")
            assert (cfg.tag, cfg.num_classes) == (tag, read.num_classes)
            assert (cfg.input_size[1:] if read.img_size else own.input_size[1:]) == (
                read.img_size or cfg.input_size[1:]
            )


# --- names without a formula

# in any digest that is not empty of small models
TRACED = "coat_lite_mini"
COMMANDS = (
    ("report", "-g", "l4"),
    ("fit", "-g", "l4", "--mode", "train"),
    ("serve", "--rate", "100/s", "-g", "l4"),
    ("plan", "--samples", "1M", "-g", "h100-sxm", "--global-batch", "64"),
    ("explain", "params"),
    ("compare", TINY, "--vary", "batch=1,2"),
)  # fmt: skip
ORIGIN = "torch 2.13.0 and timm 1.0.31"


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither torch nor timm is installed."""
    monkeypatch.setattr("vitcost.zoo.tracing.find_spec", lambda name: None)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_every_command_answers_from_the_digest(command: tuple[str, ...], capsys: Captured) -> None:
    name, *rest = command
    assert run([name, TRACED, *rest]) == 0
    page = capsys.readouterr().out
    assert ORIGIN in page
    assert run([name, TRACED, *rest, "--json"]) == 0
    json.loads(capsys.readouterr().out)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("report", TRACED, "--num-classes", "0"), "with another num_classes: the digest of its"),
        (("report", TRACED, "--img-size", "256"), "pip install 'vitcost[torch]' timm"),
        (("report", TRACED, "--platform", "cpu"), "under --platform cpu: the digest of its trace"),
        (("report", TRACED, "--depth", "3"), "is traced, so that it has no field depth"),
        (("summary", TRACED), "module by module: the digest of its trace"),
        (("fit", TRACED, "-g", "l4", "--largest", "img_size"), "a traced model is of one image"),
        (("report", f"{TRACED}.in2k"), "unknown tag of coat_lite_mini 'in2k'; did you mean in1k"),
    ],
)
def test_what_a_digest_has_not_names_the_extra(
    args: tuple[str, ...], said: str, capsys: Captured
) -> None:
    assert run(list(args)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err


@pytest.mark.usefixtures("alone")
def test_a_tag_of_the_same_classes_and_image_is_the_bare_name() -> None:
    plain, tagged = (vitcost.report(n, batch=8).to_dict() for n in (TRACED, f"{TRACED}.in1k"))
    assert tagged["model"].pop("name") == f"{TRACED}.in1k"
    del plain["model"]["name"]
    assert tagged == plain
    # what is asked for is what it has
    same = vitcost.report(TRACED, batch=8, num_classes=1000, img_size=224).to_dict()
    assert same["memory"] == plain["memory"]
    # fp32 with other products: the same tensors
    assert vitcost.report(TRACED, precision="tf32").memory.training.peak_bytes == (
        vitcost.report(TRACED).memory.training.peak_bytes
    )


def test_a_saved_report_of_a_digest_is_read(tmp_path: Path, capsys: Captured) -> None:
    saved = tmp_path / "saved.json"
    saved.write_text(json.dumps(vitcost.report(TRACED).to_dict()), encoding="utf-8")
    rows = data(capsys, str(saved), TINY)["rows"]
    assert [row["params"] for row in rows] == [vitcost.report(m).params for m in (TRACED, TINY)]


def test_models_lists_names_of_the_digest(capsys: Captured) -> None:
    rows = {row.name: row for row in vitcost.models().found}
    assert {n for n, row in rows.items() if row.basis == "traced"} == set(digests.entries())
    row, whole = rows[TRACED], vitcost.report(TRACED)
    assert row == (
        TRACED, "coat", (224, 224), whole.params, whole.flops.macs_forward, "timm 1.0.31, CoaT",
        "traced",
    )  # fmt: skip
    assert rows[TINY].basis == "formula"


def test_other_classes_and_images_are_traced_where_timm_is() -> None:
    timm, torch = pytest.importorskip("timm"), pytest.importorskip("torch")
    counters = pytest.importorskip("torch.utils.flop_counter")
    for name, asked in (
        ("convnext_atto", {"num_classes": 7, "img_size": 96}),
        (TRACED, {"in_chans": 1, "num_classes": 3}),
        ("convnext_atto.d2_in1k", {}),
    ):
        found = vitcost.report(name, batch=2, **asked)
        size, channels = asked.get("img_size", 224), asked.get("in_chans", 3)
        kept = {k: v for k, v in asked.items() if k != "img_size"}
        with torch.device("meta"):
            model = timm.create_model(name, **kept).eval()
            counter = counters.FlopCounterMode(display=False)
            with counter, torch.no_grad():
                out = model(torch.empty(2, channels, size, size))
        assert out.shape[1] == asked.get("num_classes", 1000)
        assert found.params == sum(p.numel() for p in model.parameters())
        assert found.flops.forward == counter.get_total_flops()
