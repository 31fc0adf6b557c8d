"""The published JSON schemas hold for what every command prints, and for nothing else."""

import importlib
import json
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from results_support import RESULTS

import vitcost
from vitcost.cli import run
from vitcost.errors import UnknownName
from vitcost.planner.budget import budget
from vitcost.render import render
from vitcost.render.result import Result
from vitcost.schemas import SCHEMAS, schema

BASE = "vit_base_patch16_224"
REPORTS: list[dict[str, Any]] = [
    {"model": BASE},
    {
        "model": BASE,
        "batch": 3,
        "mode": "train",
        "precision": "amp-bf16",
        "gpu": ["h200-sxm", "l4"],
    },
    {"model": BASE, "checkpointing": "block", "lora": 8, "optimizer": "sgd", "mode": "train"},
    {"model": BASE, "recipe": "megatron-fp16", "mode": "train"},
    {"model": "gpt2"},
    {"model": "clip_vit_base_patch32"},
    {"model": "vit_base_r50_s16_224"},
    {"model": "vit_base_patch16_siglip_224"},
]


def errors(name: str, data: Any) -> list[str]:
    """Where data departs from a schema, as a reader of the file has it."""
    found = schema(name)
    Draft202012Validator.check_schema(found)
    return [
        f"{error.json_path}: {error.message}"
        for error in Draft202012Validator(found).iter_errors(json.loads(json.dumps(data)))
    ]


@pytest.mark.parametrize("name", RESULTS)
def test_every_result_keeps_its_schema(name: str) -> None:
    data = json.loads(render(RESULTS[name](), "json"))
    assert data["schema"] == schema(name)["$id"] == f"vitcost.{name}/1"
    assert errors(name, data) == []


@pytest.mark.parametrize("keywords", REPORTS, ids=lambda keywords: str(list(keywords.values())))
def test_every_kind_of_report_keeps_its_schema(keywords: dict[str, Any]) -> None:
    assert errors("report", vitcost.report(**keywords).to_dict()) == []


def test_a_traced_report_keeps_its_schema() -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 5))
    found = vitcost.report(vitcost.from_torch(module, img_size=4))
    data = found.to_dict()
    assert data["model"]["basis"] == "traced"
    assert errors("report", data) == []


def test_a_report_with_its_check_keeps_its_schema() -> None:
    data = {**RESULTS["report"]().to_dict(), "check": RESULTS["check"]().to_dict()}
    assert errors("report", data) == []


def test_every_model_and_card_keeps_its_schema() -> None:
    assert errors("models", vitcost.models().to_dict()) == []
    assert errors("gpus", vitcost.gpus().to_dict()) == []


def test_a_sweep_keeps_the_schema_of_a_comparison() -> None:
    vary = {"depth": [2, 12], "img_size": [224, 225], "precision": ["fp32", "bf16"]}
    assert errors("compare", vitcost.sweep(BASE, vary=vary).to_dict()) == []


def test_a_comparison_of_layers_keeps_its_schema() -> None:
    assert errors("explain", vitcost.explain(BASE, "complexity").to_dict()) == []


def test_a_baseline_keeps_its_schema(tmp_path: Path) -> None:
    config = tmp_path / "pyproject.toml"
    config.write_text(f"[[tool.vitcost.budget]]\nmodel = '{BASE}'\nparams = '87 M'\n")
    assert errors("budget", budget(str(config), update=True).to_dict()) == []
    data = json.loads((tmp_path / "vitcost-baseline.json").read_text(encoding="utf-8"))
    assert errors("baseline", data) == []


# objects whose keys are no names of ours
FREE = ("comparisons", "versions")


def broken(data: Any) -> Iterator[Any]:
    """The same document with a key less, a key more or a value of another type, one at a time."""
    if isinstance(data, dict):
        for key in data:
            rest = {k: v for k, v in data.items() if k != key}
            yield rest
            if key not in FREE:
                yield from ({**rest, key: each} for each in broken(data[key]))
        yield {**data, "unheard_of": 1}
    elif isinstance(data, list):
        yield {"no": "list"}
        for each in data[:1]:
            yield from ([part, *data[1:]] for part in broken(each))
    else:
        yield {"another": "type"}


@pytest.mark.parametrize("name", ["budget", "check", "models", "fit"])
def test_a_document_that_is_broken_anywhere_is_refused(name: str) -> None:
    data = RESULTS[name]().to_dict()
    assert errors(name, data) == []
    documents = list(broken(data))
    assert len(documents) > 10
    assert [each for each in documents if not errors(name, each)] == []


def test_every_result_there_is_has_a_schema_and_a_sample() -> None:
    """A result is what has ``to_dict``, ``rows`` and ``page``; a report's are several."""
    found = set()
    for info in pkgutil.walk_packages(vitcost.__path__, "vitcost."):
        if info.name.endswith("__main__"):
            continue
        for each in vars(importlib.import_module(info.name)).values():
            methods = all(hasattr(each, name) for name in ("to_dict", "rows", "page"))
            if isinstance(each, type) and methods and each is not Result:
                found.add(each.__name__)
    samples = {type(make()).__name__ for make in RESULTS.values()}
    # a sweep is a large comparison, in the same schema; what is cut is another result's page
    assert found - {"MeasuredReport", "CheckedReport", "Sweep", "Shaped"} == samples
    assert set(RESULTS) | {"baseline"} == set(SCHEMAS)


def test_the_command_prints_a_schema(capsys: pytest.CaptureFixture[str]) -> None:
    for name in SCHEMAS:
        assert run(["schema", name]) == 0
        assert json.loads(capsys.readouterr().out) == schema(name)
    assert run(["schema", "reprot"]) == 2
    assert "did you mean report" in capsys.readouterr().err
    with pytest.raises(UnknownName, match="budget"):
        schema("bugdet")
