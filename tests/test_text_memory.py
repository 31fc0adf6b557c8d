"""Memory of models that read text, against the real ones of transformers on a CPU."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from alive import Alive
from saved_support import AMP, HALF, held_bytes
from timm_support import transformers as load
from torch.nn import functional

from vitcost.check.step_witnesses import optimizer
from vitcost.config.scenario import Scenario
from vitcost.config.text_config import TextConfig
from vitcost.costs import memory
from vitcost.engine.model import Config
from vitcost.engine.workload import workload
from vitcost.zoo import resolve

transformers = load()

TOKENS = 20
_TEXT = {
    "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 96,
    "vocab_size": 101, "max_position_embeddings": TOKENS, "eos_token_id": 100,
}  # fmt: skip
_VISION = {
    "image_size": 32, "patch_size": 8, "hidden_size": 48, "num_hidden_layers": 3,
    "num_attention_heads": 3, "intermediate_size": 96,
}  # fmt: skip


class Real(NamedTuple):
    """A model, its config here, and its loss."""

    model: Any
    config: Config
    loss: Callable[[Any, dict[str, Any], torch.Tensor], torch.Tensor]
    images: bool = False


def every_token(model: Any, inputs: dict[str, Any], targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(model(**inputs).logits.flatten(0, 1), targets)


def mean(model: Any, inputs: dict[str, Any], targets: torch.Tensor) -> torch.Tensor:
    found = model(**inputs)
    features = found["text_embeds" if "text_embeds" in found else "pooler_output"]
    return torch.mean(features)


def gpt2(attention: str, folder: Path, rate: float = 0.0) -> Real:
    rates = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), rate)
    theirs = transformers.GPT2Config(
        n_embd=48, n_layer=3, n_head=3, vocab_size=101, n_positions=TOKENS, use_cache=False,
        bos_token_id=1, eos_token_id=1, attn_implementation=attention, **rates,
    )  # fmt: skip
    config = TextConfig(
        embed_dim=48, depth=3, num_heads=3, vocab_size=101, context_length=TOKENS,
        act_layer="gelu_new", pos_drop_rate=rate, proj_drop_rate=rate, attn_drop_rate=rate,
    )  # fmt: skip

    return Real(transformers.GPT2LMHeadModel(theirs), config, every_token)


def dropping(attention: str, folder: Path) -> Real:
    return gpt2(attention, folder, 0.1)


def described(model: Any, folder: Path) -> Any:
    """The config that is read from a model's file."""
    path = folder / "config.json"
    data = {**json.loads(model.config.to_json_string(use_diff=False))}
    path.write_text(json.dumps({**data, "architectures": [type(model).__name__]}))
    return resolve(str(path)).config


def tower(name: str, config: str, **more: Any) -> Callable[[str, Path], Real]:
    def make(attention: str, folder: Path) -> Real:
        theirs = getattr(transformers, config)(**_TEXT, **more, attn_implementation=attention)
        model = getattr(transformers, name)(theirs)

        return Real(model, described(model, folder), mean)

    return make


def own_loss(model: Any, inputs: dict[str, Any], targets: torch.Tensor) -> torch.Tensor:
    """The contrastive loss of a pair's own forward."""
    found: torch.Tensor = model(**inputs, return_loss=True).loss
    return found


def pair(attention: str, folder: Path) -> Real:
    theirs = transformers.CLIPConfig(
        vision_config=_VISION, text_config={**_TEXT, "projection_dim": 40}, projection_dim=40,
        attn_implementation=attention,
    )  # fmt: skip
    model = transformers.CLIPModel(theirs)

    return Real(model, described(model, folder), own_loss, images=True)


def siglip(attention: str, folder: Path) -> Real:
    theirs = transformers.SiglipConfig(
        vision_config=_VISION, text_config={**_TEXT, "projection_size": 48},
        attn_implementation=attention,
    )  # fmt: skip
    model = transformers.SiglipModel(theirs)

    return Real(model, described(model, folder), own_loss, images=True)


MODELS: dict[str, Callable[[str, Path], Real]] = {
    "GPT-2": gpt2,
    "GPT-2, dropout": dropping,
    "CLIP's text": tower("CLIPTextModelWithProjection", "CLIPTextConfig", projection_dim=40),
    "SigLIP's text": tower("SiglipTextModel", "SiglipTextConfig", projection_size=40),
    "CLIP": pair,
    "SigLIP": siglip,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("precision", ["fp32", "amp-bf16", "bf16"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("name", MODELS)
def test_text(name: str, attention: str, precision: str, tmp_path: Path) -> None:
    """Exact in inference, of what autograd keeps, and of a step."""
    dtype, autocast = HALF.get(precision, torch.float32), AMP.get(precision)
    for batch in (1, 2, 5):
        model, config, loss, images = MODELS[name](attention, tmp_path)
        model = model.to(dtype)
        inputs = {"input_ids": torch.randint(0, 99, (batch, TOKENS))}
        if images:
            inputs["pixel_values"] = torch.rand(batch, 3, 32, 32, dtype=dtype)
        own = [*inputs.values(), *model.parameters(), *model.buffers()]
        context = torch.autocast("cpu", autocast or torch.bfloat16, enabled=autocast is not None)
        how = Scenario(
            batch=batch, mode="train", precision=precision, platform="cpu", optimizer="sgd",
            attention=attention,
        )  # fmt: skip
        run = workload(config, how)
        alive = Alive(own)
        with alive, torch.no_grad(), context:
            model.eval()(**inputs)
        assert memory.inference(run).activations_bytes == max(alive.seen), batch
        model.train()
        if not images:
            with context:
                kept = held_bytes(lambda model=model, inputs=inputs: model(**inputs), own)
            assert run.rows().cost.saved_bytes == kept, batch
        targets = torch.zeros(batch * TOKENS * (loss is every_token), dtype=torch.long)
        real = real_peak(model, partial(loss, model, inputs, targets), [*own, targets], context)
        # the tracker's mode, under which no gradient is added in place
        assert memory.step_peak(memory.states(run, 0), run, in_place=False).total_bytes == real


def real_peak(
    model: Any, loss: Callable[[], torch.Tensor], own: list[torch.Tensor], context: Any
) -> int:
    """The most that is alive after any operator of a second step."""
    sgd = optimizer("sgd")(model.parameters())

    def step() -> None:
        sgd.zero_grad(set_to_none=True)
        with context:
            found = loss()
        found.backward()  # type: ignore[no-untyped-call]
        sgd.step()

    step()
    sgd.zero_grad(set_to_none=True)
    alive = Alive(own)
    with alive:
        step()
    return sum(t.untyped_storage().nbytes() for t in own) + max(alive.seen)
