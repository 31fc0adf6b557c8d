"""A saved report is held against its schema, its sizes and its own sums before it is compared."""

import copy
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import vitcost
from vitcost import ConfigError, compare
from vitcost.costs.saved import SCHEMA, check, read
from vitcost.costs.saved.valid import WORDS, fault
from vitcost.schemas import SCHEMAS, schema

Json = dict[str, Any]
MODELS = {
    "plain": ("vit_tiny_patch16_224", {"batch": 2}),
    "with a card": ("vit_tiny_patch16_224", {"gpu": ["l4", "h100-sxm"], "mode": "train"}),
    "no peak": ("vit_tiny_patch16_224", {"recipe": "megatron-fp32", "batch": 4}),
    "text": ("gpt2", {}),
    "two towers": ("ViT-B-32", {}),
    "hybrid": ("vit_small_r26_s32_224", {}),
    "adapters": ("vit_tiny_patch16_224", {"lora": 4, "checkpointing": "block", "mode": "train"}),
}


def saved(name: str) -> Json:
    model, flags = MODELS[name]
    data: Json = json.loads(json.dumps(vitcost.report(model, **flags).to_dict()))
    return data


@pytest.mark.parametrize("name", MODELS)
def test_what_is_written_is_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / "saved.json"
    path.write_text(json.dumps(saved(name)))
    assert read(str(path)) == saved(name)
    assert [row["params"] for row in compare(str(path)).rows()] == [saved(name)["params"]["total"]]


def changed(data: Json, path: str, value: Any) -> Json:
    data = copy.deepcopy(data)
    *keys, last = path.split(".")
    inner: Any = data
    for key in keys:
        inner = inner[int(key) if key.isdigit() else key]
    if value is KeyError:
        del inner[last]
    else:
        inner[int(last) if last.isdigit() else last] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("params.total", 10**400, "an integer of 1,329 bits"),
        ("params.total", -5, "params.total is not a number that a report can have, got -5"),
        ("params.total", 5, "params.by_part add up to 5,717,416, not to 5"),
        ("params.total", 5.0, "params.total must be integer, got 5.0"),
        ("params.total", True, "params.total must be integer, got True"),
        ("params.totals", 5, "params has the unknown key 'totals'; did you mean 'total'?"),
        ("params", KeyError, "has no params"),
        ("layers", [], "layers add up to 0, not to 5,717,416"),
        ("layers.0.repeat", 7, "layers add up to"),
        ("layers.0.children", None, "layers[0].children must be array, got None"),
        ("layers.4.children.0.path", 3, "layers[4].children[0].path must be string, got 3"),
        ("scenario.batch", "x", "scenario.batch must be integer, got 'x'"),
        ("scenario.gpu", None, "scenario.gpu must be array, got None"),
        ("model.basis", "guess", "model.basis must be one of"),
        ("model.name", "x" * 10**6, "model.name is a text that nobody reads"),
        ("model.config.depth", 0, "model.config.depth must be from 1"),
        ("flops.forward", 2.5e300, "flops.forward must be integer, got"),
        ("flops.forward", None, "flops.forward must be integer, got None"),
        ("memory.training.peak_bytes", -1, "memory.training.peak_bytes is not a number"),
        ("memory.inference", [], "memory.inference must be object, got []"),
        ("tokens", {}, "tokens must be integer or null, got {}"),
    ],
    ids=str,
)
def test_a_report_that_nobody_wrote_is_refused(
    path: str, value: Any, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "saved.json"
    file.write_text(json.dumps(changed(saved("plain"), path, value)))
    with pytest.raises(ConfigError) as caught:
        compare(str(file), "vit_tiny_patch16_224")
    message = str(caught.value)
    assert message.startswith(f"{file}: not a report in schema {SCHEMA}: ")
    assert said in message
    assert len(message) < len(str(file)) + 400


def test_another_table_is_no_report(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text('{"schema": "vitcost.fit/1"}')
    assert read(str(path)) is None


def test_a_verdict_beside_the_report_is_let_be() -> None:
    check({**saved("plain"), "check": {"schema": "vitcost.check/1"}}, "saved.json")


# the validator against the one of the library


def words(data: Any) -> Iterator[str]:
    """Every word of a schema that stands where a word may."""
    for key, value in data.items():
        yield key
        if key in ("properties", "$defs"):
            for each in value.values():
                yield from words(each)
        elif key in ("anyOf", "prefixItems"):
            for each in value:
                yield from words(each)
        elif isinstance(value, dict):
            yield from words(value)


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_word_of_a_schema_is_understood(name: str) -> None:
    assert set(words(schema(name))) <= WORDS | {"$schema", "$id", "$defs"}


ODD = [None, True, False, 0, -1, 1.5, 10**30, "", "x", [], [1], {}, {"a": 1}, KeyError]


def places(data: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    inside = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in inside:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


@pytest.mark.parametrize("name", ["plain", "with a card", "two towers"])
def test_the_library_says_the_same_of_changed_reports(name: str) -> None:
    """A value in any place in place of another, or a key that is gone: valid for both, or for
    neither."""
    rng, data, own = random.Random(name), saved(name), schema("report")
    validator = jsonschema.Draft202012Validator(own)
    assert validator.is_valid(data)
    assert fault(data, own) is None
    every = list(places(data))
    refused = 0
    for _ in range(60):
        other: Any = copy.deepcopy(data)
        inner = other
        *keys, last = rng.choice(every)
        for key in keys:
            inner = inner[key]
        value = rng.choice(ODD)
        if value is KeyError:
            del inner[last]
        else:
            inner[last] = value
        found = fault(other, own)
        assert (found is None) == validator.is_valid(other), (keys, last, value, found)
        refused += found is not None
    assert refused > 20


def test_each_word_is_held() -> None:
    """Data that breaks one word of a schema each."""
    broken: list[tuple[Any, Json]] = [
        ("a", {"type": "integer"}),
        (True, {"type": "number"}),
        (1, {"type": "boolean"}),
        ("a", {"enum": ["b"]}),
        (1, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ({}, {"required": ["a"]}),
        ({"a": 1}, {"properties": {}, "additionalProperties": False}),
        ({"a": 1}, {"additionalProperties": {"type": "string"}}),
        ([1], {"items": {"type": "string"}}),
        ([1, 2], {"prefixItems": [{"type": "integer"}], "minItems": 1, "maxItems": 1}),
        (["a"], {"prefixItems": [{"type": "integer"}], "minItems": 1, "maxItems": 1}),
        (1, {"minimum": 2}),
        (3, {"maximum": 2}),
        (1, {"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}}),
    ]
    assert {word for _, each in broken for word in words(each)} >= WORDS
    valid: Callable[[Json], Any] = jsonschema.Draft202012Validator
    for data, own in broken:
        assert fault(data, own) is not None, own
        assert not valid(own).is_valid(data)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("vit_base_patch16_224", {"num_classes": 5, "img_size": (224, 384)}),
        ("vit_small_resnet26d_224", {}),
        ("beit_base_patch16_224", {"depth": 3}),
    ],
)
def test_a_saved_report_is_a_model(name: str, fields: dict[str, Any], tmp_path: Path) -> None:
    own = vitcost.report(name, batch=2, **fields).to_dict()
    path = tmp_path / "saved.json"
    path.write_text(json.dumps(own), encoding="utf-8")
    again = vitcost.report(str(path), batch=2).to_dict()
    assert again["model"]["config"] == own["model"]["config"]
    for part in ("params", "flops", "memory", "layers"):
        assert again[part] == own[part]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"schema": "vitcost.fit/1", "model": {}}, "schema 'vitcost.fit/1' holds no model"),
        ({"schema": "vitcost.report/1", "model": 3}, "holds no model"),
        ({"schema": "vitcost.report/1", "model": {"basis": "traced"}}, "holds no trace"),
        ({"schema": "vitcost.report/1", "model": {"basis": "formula", "config": {"vision": 1}}},
         "give the model's name"),
        ({"schema": "vitcost.report/1", "model": {"basis": "formula", "config": {"x": 1}}},
         "unknown key 'x'"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_models_report_is_refused(
    data: dict[str, Any], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "saved.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(vitcost.VitcostError, match=said):
        vitcost.report(str(path))
