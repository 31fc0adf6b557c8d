"""The cards: every figure against what others claim of it, and the traps that such tables hold."""

import csv
from pathlib import Path

import pytest

from vitcost.errors import ConfigError, UnknownName
from vitcost.hardware.cards import ALIASES, CARDS, SOURCES, Card, Peaks
from vitcost.hardware.specs import (
    asked_cards,
    card,
    card_dict,
    load_cards,
    matching,
    own_card,
    sources,
)
from vitcost.hardware.typical import REACHED, is_geforce

DATA = Path(__file__).parent / "data"
PEAKS = ("fp32", "tf32", "fp16", "bf16", "fp8", "int8")
COLUMNS = {
    **{f"{kind}_dense_tflops": kind for kind in PEAKS},
    "mem_gb": "mem",
    "bw_gbps": "bw",
    "link_gbps_unidir": "link",
    "tdp_w": "tdp",
}
# found elsewhere: the blog of SOURCES["fixstars"], and AnandTech's table of the H100 NVL
ELSEWHERE = {
    ("rtx-pro-6000-maxq", "mem"): 96,
    ("rtx-pro-6000-maxq", "bw"): 1792,
    ("rtx-pro-6000-maxq", "tdp"): 300,
    ("h100-nvl", "bw"): 3900,
    # SOURCES["gcp"] (19.49), ["lightning"], ["hf"] (10.32), ["zang"], ["gb202"], ["notebookcheck"]
    ("a100-sxm-40gb", "fp32"): 19.5,
    ("a100-pcie-40gb", "fp32"): 19.5,
    ("a10g", "fp32"): 31.2,
    ("a30", "fp32"): 10.3,
    ("h20", "fp32"): 44,
    ("rtx-pro-6000-server", "fp32"): 117,
    ("rtx-pro-6000-maxq", "fp32"): 110.1,
    ("mi100", "fp32"): 46.1,
}
# nobody states fp16 by itself; its tensor cores run it at the rate of bf16
FP16_AS_BF16 = {
    "a30", "rtx3090", "rtx4090", "rtx5090", "rtx-pro-6000-server", "rtx-pro-6000-maxq", "h100-nvl",
    "h200-nvl", "h20", "mi325x", "mi350x",
}  # fmt: skip


def rows(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(newline="") as file:
        return list(csv.DictReader(file))


TABLE = {row["device"]: row for row in rows("hardware.csv")}
CLAIMS = [row for row in rows("hardware_claims.csv") if row["device"] in CARDS]


def figure(row: Card, field: str) -> float | None:
    own = {
        "mem": row.memory_gb,
        "bw": row.bandwidth_gbps,
        "link": row.link_gbps,
        "tdp": row.power_w,
    }
    return own[field] if field in own else getattr(row.peaks, field)


# claimed, but not picked into the table
CLAIMED = ("mi100", "mi210")


def test_the_cards_are_those_of_the_data() -> None:
    assert [name for name in CARDS if name in TABLE] == list(TABLE)
    assert {row["device"] for row in rows("hardware_claims.csv")} <= set(CARDS)
    assert {*TABLE, *CLAIMED} <= set(CARDS)


@pytest.mark.parametrize("name", CLAIMED)
def test_a_card_of_claims_has_those_that_agree(name: str) -> None:
    claims: dict[str, set[float]] = {}
    for row in CLAIMS:
        if row["device"] == name:
            claims.setdefault(row["field"], set()).add(float(row["value"]))
    for field in COLUMNS.values():
        found = figure(CARDS[name], field)
        # int8 has one claim of fp16's rate, and one of twice that
        if field == "int8" or field not in claims:
            assert found == ELSEWHERE.get((name, field))
        else:
            assert found == max(claims[field])
            assert min(claims[field]) > 0.97 * max(claims[field])


@pytest.mark.parametrize("name", TABLE)
def test_each_figure_is_the_picked_one(name: str) -> None:
    for column, field in COLUMNS.items():
        picked = TABLE[name][column]
        expected = float(picked) if picked else ELSEWHERE.get((name, field))
        assert figure(CARDS[name], field) == expected, field


@pytest.mark.parametrize("name", dict.fromkeys(claim["device"] for claim in CLAIMS))
def test_each_figure_that_others_claim_has_a_source_of_the_row(name: str) -> None:
    own = CARDS[name].source.split()
    places = [SOURCES[key].split()[0].split("@")[0].split("{")[0] for key in own]
    for field in COLUMNS.values():
        value = figure(CARDS[name], field)
        if value is None or (name, field) in ELSEWHERE:
            continue
        if field in ("fp16", "bf16") and name in FP16_AS_BF16:
            assert CARDS[name].peaks.fp16 == CARDS[name].peaks.bf16
            continue
        claims = [c for c in CLAIMS if (c["device"], c["field"]) == (name, field)]
        agreeing = [c for c in claims if abs(float(c["value"]) / value - 1) <= 0.025]
        found = any(c["source"].startswith(place) for c in agreeing for place in places)
        # the PCIe V100's 250 W has one claim, of 300
        assert found or (name, field) == ("v100-pcie", "tdp"), field


@pytest.mark.parametrize("name", CARDS)
def test_every_source_is_spelled_out(name: str) -> None:
    assert CARDS[name].source
    assert all(sources(CARDS[name]))


def test_every_source_is_used() -> None:
    assert {key for row in CARDS.values() for key in row.source.split()} == set(SOURCES)


SPARSE = [c for c in CLAIMS if "sparse" in c["flag"]]
ACCUMULATE = [c for c in CLAIMS if "accumulate" in c["flag"]]


def test_the_traps_are_in_the_data() -> None:
    assert len(SPARSE) == 16
    assert len(ACCUMULATE) == 3


@pytest.mark.parametrize("claim", SPARSE, ids=lambda c: f"{c['device']}-{c['field']}")
def test_no_figure_is_sparse(claim: dict[str, str]) -> None:
    value = figure(CARDS[claim["device"]], claim["field"])
    assert value is not None
    assert float(claim["value"]) / value == pytest.approx(2, rel=0.01)


@pytest.mark.parametrize("claim", ACCUMULATE, ids=lambda c: c["device"])
def test_half_precision_accumulates_in_fp32(claim: dict[str, str]) -> None:
    value = CARDS[claim["device"]].peaks.fp16
    assert value is not None
    # the third claim is sparse as well
    factor = 4 if "x4" in claim["flag"] else 2
    assert float(claim["value"]) / value == pytest.approx(factor, rel=0.01)


@pytest.mark.parametrize("name", [n for n in CARDS if n.startswith("rtx")])
def test_geforce_runs_half_precision_at_twice_fp32(name: str) -> None:
    fp32, bf16 = CARDS[name].peaks.fp32, CARDS[name].peaks.bf16
    if fp32 is not None and bf16 is not None:
        # the tensor cores of a workstation's card are not halved
        assert bf16 / fp32 == pytest.approx(2 if is_geforce(CARDS[name]) else 4, rel=0.01)


def test_a_card_of_80_gb_has_80_gib() -> None:
    claimed = [c for c in CLAIMS if c["field"] == "mem_bytes"]
    assert len(claimed) == 13
    for claim in claimed:
        assert CARDS[claim["device"]].usable_bytes == int(claim["value"])
    assert CARDS["a100-sxm-80gb"].memory_bytes == 80 * 2**30 == 85_899_345_920
    assert CARDS["h200-sxm"].memory_bytes == 141 * 2**30 == 151_397_597_184


def test_usable_never_exceeds_what_is_on_the_card() -> None:
    for row in CARDS.values():
        if row.usable_bytes is not None and row.memory_bytes is not None:
            assert row.usable_bytes <= row.memory_bytes


def test_what_torch_reports_where_nobody_else_does() -> None:
    # the out-of-memory messages say 23.70 GiB and 23.64 GiB
    assert CARDS["rtx3090"].usable_bytes == int(23.70 * 2**30)
    assert CARDS["rtx4090"].usable_bytes == int(23.64 * 2**30)


@pytest.mark.parametrize(
    ("name", "both_ways"),
    # what the vendors print: NVLink 2, 3, 4 and 5 of all links together
    [("v100-sxm2", 300), ("a100-sxm-80gb", 600), ("h100-sxm", 900), ("b200", 1800)],
)
def test_links_are_one_direction(name: str, both_ways: int) -> None:
    link = CARDS[name].link
    assert link == both_ways / 2 * 1e9


# https://developer.nvidia.com/cuda-gpus and its page of legacy cards, MIG's list of cards for the
# H20, rocm.docs.amd.com reference/gpu-specs; a TPU has neither
_ARCHITECTURES = {
    "v100": "7.0", "t4": "7.5", "a100": "8.0", "a30": "8.0", "a10": "8.6", "a40": "8.6",
    "rtx-a6000": "8.6", "rtx3090": "8.6", "l4": "8.9", "rtx4090": "8.9", "h100": "9.0",
    "h200": "9.0", "h20": "9.0", "b200": "10.0", "gb200": "10.0", "b300": "10.3", "gb300": "10.3",
    "rtx5090": "12.0", "rtx-pro-6000": "12.0", "mi100": "gfx908", "mi2": "gfx90a",
    "mi30": "gfx942", "mi32": "gfx942", "mi35": "gfx950", "tpu": "",
}  # fmt: skip


@pytest.mark.parametrize("name", CARDS)
def test_the_architecture_of_every_card(name: str) -> None:
    own = CARDS[name].architecture
    prefix = max((p for p in _ARCHITECTURES if name.startswith(p)), key=len, default="")
    assert own == _ARCHITECTURES.get(prefix, own)
    stated = any(
        "compute capability" in text or "LLVM target" in text for text in sources(card(name))
    )
    assert stated == (own != "")
    # 10.0 is above 8.9, which text is not
    assert CARDS[name].capability is None or CARDS[name].capability >= (7, 0)


def test_the_architecture_of_ones_own_card(tmp_path: Path) -> None:
    path = tmp_path / "cards.toml"
    path.write_text("[gpu.mine]\narchitecture = 8.9\n[gpu.theirs]\nlike = 'mine'\n")
    assert load_cards(path)["mine"].capability == (8, 9) == load_cards(path)["theirs"].capability
    assert own_card("x", {"like": "l4", "architecture": "gfx942"}).capability is None
    for wrong in (9, "sm90", "hopper", ""):
        with pytest.raises(ConfigError, match="such as 9"):
            own_card("x", {"architecture": wrong})


def test_bandwidths_that_are_often_wrong() -> None:
    assert CARDS["h100-sxm"].bandwidth == 3350e9
    assert CARDS["a100-sxm-80gb"].bandwidth == 2039e9
    assert CARDS["a100-pcie-80gb"].bandwidth == 1935e9


@pytest.mark.parametrize("name", CARDS)
def test_peaks_rise_as_the_type_narrows(name: str) -> None:
    peaks = CARDS[name].peaks
    known = [p for p in (peaks.fp32, peaks.tf32, peaks.bf16, peaks.fp8) if p is not None]
    assert known == sorted(known)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("h100-sxm", "h100-sxm"),
        ("H100_SXM", "h100-sxm"),
        ("NVIDIA H100 80GB HBM3", "h100-sxm"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA A100-SXM4-40GB", "a100-sxm-40gb"),
        ("NVIDIA GeForce RTX 3090", "rtx3090"),
        ("RTX 4090", "rtx4090"),
        ("Tesla T4", "t4"),
        ("Tesla V100-SXM2-32GB", "v100-sxm2"),
        ("AMD Instinct MI300X", "mi300x"),
        ("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", "rtx-pro-6000-maxq"),
    ],
)
def test_names_as_people_and_torch_write_them(given: str, name: str) -> None:
    assert card(given).name == name


def test_aliases_lead_to_cards_and_hide_none() -> None:
    assert set(ALIASES.values()) <= set(CARDS)
    assert not set(ALIASES) & set(CARDS)


@pytest.mark.parametrize(
    ("given", "neighbours"),
    [
        ("H100", ["h100-sxm", "h100-pcie", "h100-nvl"]),
        ("A100", ["a100-sxm-40gb", "a100-sxm-80gb", "a100-pcie-40gb", "a100-pcie-80gb"]),
        ("a100-pcie", ["a100-pcie-40gb", "a100-pcie-80gb"]),
        ("rtx4099", ["rtx4090"]),
        ("l40x", ["l40s"]),
    ],
)
def test_an_unknown_card_names_its_neighbours(given: str, neighbours: list[str]) -> None:
    with pytest.raises(UnknownName) as error:
        card(given)
    assert all(name in str(error.value) for name in neighbours)


def test_queries() -> None:
    assert [row.name for row in matching("4090")] == ["rtx4090"]
    assert [row.name for row in matching("google")] == [n for n in CARDS if n.startswith("tpu")]
    assert [row.name for row in matching()] == list(CARDS)
    assert matching("abacus") == []


def test_a_card_in_json_is_in_base_units() -> None:
    row = card_dict(CARDS["rtx4090"])
    assert row["bf16_flops_per_second"] == 165.2e12
    assert row["bandwidth_bytes_per_second"] == 1008e9
    assert row["memory_bytes"] == 24 * 2**30
    assert row["link_bytes_per_second"] is None
    assert row["power_watts"] == 450


@pytest.mark.parametrize("head", ["gpu", "tool.vitcost.gpu"])
def test_own_cards(tmp_path: Path, head: str) -> None:
    path = tmp_path / "cards.toml"
    path.write_text(
        f"[{head}.mine]\nbf16_tflops = 100\nbandwidth_gbps = 500\nmemory_gb = 10\n"
        f"[{head}.capped]\nlike = 'h100-sxm'\npower_w = 350\n"
    )
    own = load_cards(path)
    assert own["mine"].peaks.bf16 == 100
    assert own["mine"].memory_bytes == 10 * 2**30
    assert own["capped"] == CARDS["h100-sxm"]._replace(
        name="capped", power_w=350, source=str(path), like="h100-sxm"
    )
    assert card("mine", own) is own["mine"]
    assert matching("capped", own) == [own["capped"]]
    assert sources(own["capped"]) == (str(path),)


@pytest.mark.parametrize("name", CARDS)
def test_a_figure_that_the_user_states_is_the_figure_of_the_card(name: str, tmp_path: Path) -> None:
    """Every figure of every card, as a flag, in a file by name, and through a card in between."""
    figures: dict[str, object] = {
        **{f"{kind}_tflops": 3.5 for kind in Peaks._fields},
        "memory_gb": 12,
        "usable_bytes": 11 * 2**30,
        "bandwidth_gbps": 77,
        "link_gbps": 7,
        "power_w": 42,
        "year": 1999,
        "architecture": "8.6",
    }
    for key, value in figures.items():
        spelled = f"'{value}'" if isinstance(value, str) else value
        path = tmp_path / f"{key}.toml"
        path.write_text(
            f"[gpu.x]\nlike = '{name}'\n{key} = {spelled}\n[gpu.y]\nlike = 'x'\npower_w = 42\n"
        )
        (flag,) = asked_cards(f"{name},{key}={value}")
        own = load_cards(path)
        for row in (flag, own["x"], own["y"]):
            kind = key.removesuffix("_tflops")
            stated = getattr(row.peaks, kind) if kind in Peaks._fields else getattr(row, key)
            assert stated == value
            if key in ("memory_gb", "usable_bytes"):
                assert row.capacity_bytes == (12 if key == "memory_gb" else 11) * 2**30
            else:
                assert row.capacity_bytes == CARDS[name].capacity_bytes


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[gpu.x]\nbf16 = 3\n", "bf16_tflops"),
        ("[gpu.x]\nbf16_tflops = -3\n", "above 0"),
        ("[gpu.x]\nbf16_tflops = true\n", "above 0"),
        ("[gpu]\nx = 3\n", "a table"),
        ("[gpu.x", "not TOML"),
    ],
)
def test_own_cards_that_cannot_be(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "cards.toml"
    path.write_text(text)
    with pytest.raises((ConfigError, UnknownName), match=says):
        load_cards(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        load_cards(tmp_path / "nowhere.toml")


def test_flags_describe_a_card() -> None:
    assert own_card("flag", {"fp16_tflops": 71, "bandwidth_gbps": 936}).bandwidth == 936e9


def test_what_cards_were_seen_to_reach() -> None:
    claimed = {
        c["device"]: float(c["value"])
        for c in rows("hardware_claims.csv")
        if c["field"] == "mamf_bf16"
    }
    assert claimed == REACHED
    for name, reached in REACHED.items():
        peak = CARDS[name].peaks.bf16
        assert peak is not None
        assert reached < peak
