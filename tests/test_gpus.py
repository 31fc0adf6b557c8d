"""``gpus``: every card with its figures and their sources, in every format."""

import json
from pathlib import Path

import pytest

import vitcost
from vitcost.cli import run
from vitcost.errors import UnknownName
from vitcost.hardware.calibrations import KNOWN
from vitcost.hardware.cards import CARDS, CPUS, SOURCES
from vitcost.hardware.catalogue import measured_on
from vitcost.render import FORMATS, JUDGING, render

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_json_has_each_figure_in_base_units_with_its_sources(capsys: Captured) -> None:
    assert run(["gpus", "h100-sxm", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "vitcost.gpus/1"
    (row,) = found["rows"]
    # NVIDIA's sheet of the H100 SXM5: 1,979 with sparsity is 989 dense; NVLink 900 GB/s both ways
    assert row["bf16_flops_per_second"] == 989e12
    assert row["bandwidth_bytes_per_second"] == 3350e9
    assert row["link_bytes_per_second"] == 450e9
    assert row["memory_bytes"] == 80 * 2**30
    assert (row["power_watts"], row["year"]) == (700, 2022)
    assert row["sources"] == [SOURCES[key] for key in CARDS["h100-sxm"].source.split()]
    assert row["measured"] == []


def test_what_was_measured_stands_beside_a_card() -> None:
    (row,) = vitcost.gpus("rtx3090").to_dict()["rows"]
    modes = {(m["mode"], m["layout"], m["software"]) for m in row["measured"]}
    assert ("train", "nchw", "1.12") in modes
    assert ("infer", "nhwc", "2.4") in modes
    assert all(0 < m["held_out"] <= m["band"] for m in row["measured"])
    names = {c.gpu for c in KNOWN}
    assert {name for name in CARDS if measured_on(CARDS[name])} | set(CPUS) == names


@pytest.mark.parametrize("form", [form for form in FORMATS if form not in JUDGING])
def test_every_format_names_every_card(form: str) -> None:
    text = render(vitcost.gpus(), form).replace("&#8209;", "-")
    assert all(name in text for name in CARDS)


def test_the_page_spells_sources_out(capsys: Captured) -> None:
    assert run(["gpus", "rtx4090"]) == 0
    out = capsys.readouterr().out
    assert "165.2 T" in out
    assert "infer, infer compiled" in out
    assert f"hmc: {SOURCES['hmc']}" in out
    assert "dense" in out
    assert out.startswith("1 card: rtx4090, memory 24.0 GiB, ")


def test_names_alone(capsys: Captured) -> None:
    assert run(["gpus", "a100", "-q"]) == 0
    wanted = ["a100-sxm-40gb", "a100-sxm-80gb", "a100-pcie-40gb", "a100-pcie-80gb"]
    assert capsys.readouterr().out.split() == wanted


def test_an_unknown_query_names_its_neighbours(capsys: Captured) -> None:
    assert run(["gpus", "rtx4099"]) == 2
    assert "unknown gpu 'rtx4099'; did you mean rtx4090" in capsys.readouterr().err
    with pytest.raises(UnknownName):
        vitcost.gpus("abacus")


def test_ones_own_cards_are_among_them(elsewhere: Path, capsys: Captured) -> None:
    (elsewhere / "pyproject.toml").write_text("[tool.vitcost.gpu.mine]\nbf16_tflops = 7.5\n")
    assert run(["gpus", "mine", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["gpu"], row["bf16_flops_per_second"]) == ("mine", 7.5e12)
    assert row["sources"] == ["pyproject.toml"]
    (elsewhere / "other.toml").write_text("[gpu.theirs]\nlike = 'l4'\n")
    assert run(["gpus", "theirs", "-q", "--gpu-file", "other.toml"]) == 0
    assert capsys.readouterr().out == "theirs\n"
