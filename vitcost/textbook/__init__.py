"""The closed forms of the papers, in the papers' letters, written independently of the engine.

Plain arithmetic: every function takes ints, numpy integer arrays or sympy integer symbols. If its
assumptions do not hold, a form raises ``NotCovered`` with the numbers.

b batch, s sequence length in tokens, h width, a attention heads, L depth, m MLP width (4h unless
given), V vocabulary, K classes, Φ parameters; H × W an image of c channels in patches of p_h × p_w,
n patches. A multiply-add is two FLOPs; FLOPs are convolutions and matrix products, nothing else.

Vaswani 2017: Attention Is All You Need, arXiv 1706.03762
Kaplan 2020: Scaling Laws for Neural Language Models, arXiv 2001.08361
Rajbhandari 2020: ZeRO, arXiv 1910.02054
Dosovitskiy 2021: An Image Is Worth 16x16 Words, arXiv 2010.11929
Touvron 2021: Training Data-efficient Image Transformers, arXiv 2012.12877
Narayanan 2021: Efficient Large-Scale Language Model Training on GPU Clusters, arXiv 2104.04473
Korthikanti 2022: Reducing Activation Recomputation in Large Transformer Models, arXiv 2205.05198
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitcost.textbook.flops import (
        attention_flops,
        backward_flops,
        block_flops,
        logits_flops,
        mlp_flops,
        output_flops,
        patch_flops,
        qkv_flops,
        recomputed_training_flops,
        scores_flops,
        text_flops,
        text_training_flops_approx,
        training_flops,
        vit_flops,
        vit_recomputed_training_flops,
        vit_training_flops,
        weighted_sum_flops,
    )
    from vitcost.textbook.layer_types import LayerComplexity, layer_complexities
    from vitcost.textbook.letters import Vit, patches
    from vitcost.textbook.model_bytes import (
        ModelStates,
        block_activation_bytes,
        inference_bytes,
        training_bytes,
    )
    from vitcost.textbook.params import (
        attention_params,
        block_params,
        mlp_params,
        norms_params,
        patch_params,
        text_params,
        text_params_approx,
        vit_params,
    )
    from vitcost.textbook.saved_bytes import Running, block_saved_bytes, vit_saved_bytes

__all__ = [
    "LayerComplexity",
    "ModelStates",
    "Running",
    "Vit",
    "attention_flops",
    "attention_params",
    "backward_flops",
    "block_activation_bytes",
    "block_flops",
    "block_params",
    "block_saved_bytes",
    "inference_bytes",
    "layer_complexities",
    "logits_flops",
    "mlp_flops",
    "mlp_params",
    "norms_params",
    "output_flops",
    "patch_flops",
    "patch_params",
    "patches",
    "qkv_flops",
    "recomputed_training_flops",
    "scores_flops",
    "text_flops",
    "text_params",
    "text_params_approx",
    "text_training_flops_approx",
    "training_bytes",
    "training_flops",
    "vit_flops",
    "vit_params",
    "vit_recomputed_training_flops",
    "vit_saved_bytes",
    "vit_training_flops",
    "weighted_sum_flops",
]

_MODULES = ("saved_bytes", "flops", "layer_types", "letters", "model_bytes", "params")


def __getattr__(name: str) -> Any:
    # imported on demand: a report needs only one of all these forms
    if name in __all__:
        for module in _MODULES:
            home = import_module(f"vitcost.textbook.{module}")
            if name in home.__all__:
                return getattr(home, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
