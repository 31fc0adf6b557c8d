"""Other libraries as witnesses: their models on meta, counted by torch."""

import json
from pathlib import Path
from typing import Any

import torch
from timm_support import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

# transformers and open_clip name torchvision's operators
torchvision()
import open_clip  # noqa: E402
import transformers  # noqa: E402
from open_clip.model import CLIPVisionCfg, _build_vision_tower  # noqa: E402

MODEL_CONFIGS = Path(open_clip.__file__).parent / "model_configs"
# transformers registers its towers under the names of the models of two
_TOWERS = {
    "clip_vision_model": transformers.CLIPVisionConfig,
    "siglip_vision_model": transformers.SiglipVisionConfig,
    "clip_text_model": transformers.CLIPTextConfig,
    "siglip_text_model": transformers.SiglipTextConfig,
}


def counted(model: nn.Module, *shape: int) -> tuple[int, int]:
    """Parameters, and the FLOPs of one forward, for an input on meta."""
    with FlopCounterMode(display=False) as counter:
        model.eval()(torch.empty(*shape, device="meta"))
    return sum(p.numel() for p in model.parameters()), counter.get_total_flops()


def buffer_bytes(model: nn.Module) -> int:
    """Bytes of the buffers of a model, those that are under two names once."""
    return sum(b.numel() * b.itemsize for b in model.buffers())


def config_class(kind: str) -> Any:
    """The class of transformers that a ``model_type`` names."""
    return _TOWERS.get(kind) or transformers.CONFIG_MAPPING[kind]


def transformer(kind: str, name: str, **keys: Any) -> nn.Module:
    """A model of transformers on meta, its attention unfused."""
    config = config_class(kind)(**keys, attn_implementation="eager")
    with torch.device("meta"):
        model: nn.Module = getattr(transformers, name)(config)
    return model


def tower(config: dict[str, Any]) -> nn.Module:
    """The vision tower of an open_clip model JSON, on meta."""
    with torch.device("meta"):
        model: nn.Module = _build_vision_tower(
            config["embed_dim"],
            CLIPVisionCfg(**config["vision_cfg"]),
            config.get("quick_gelu", False),
        )
    return model


def model_json(name: str) -> dict[str, Any]:
    """The JSON of one of open_clip's models."""
    found: dict[str, Any] = json.loads((MODEL_CONFIGS / f"{name}.json").read_text())
    return found
