"""LoRA: low-rank changes to the layers of a frozen language model, by peft (Hu et al. 2021, arXiv 2106.09685).

    y = W x + lora_alpha / rank * up(down(x))        up starts at zero, so training starts from the language model

The weights are `LoraWeights`, a module of our own that is saved beside the adapter; peft puts them to work inside of
the language model, whose own weights stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from videochat.errors import MissingInput, UsageError

from .config import ALL_LINEAR, VideoChatgptConfig

INSTALL = "pip install 'videochat-toolkit[llm]'"
ADAPTER = "default"  # peft's name for the one set of changes that a model here has


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise MissingInput(
            "lora_rank is above 0 and peft is not installed",
            fix=f"{INSTALL}, or --set lora_rank=0 to train the adapter alone",
        ) from error
    return peft


def _inject(language_model: nn.Module, config: VideoChatgptConfig) -> None:
    """Put peft's layers, with weights of their own, into the language model."""
    from transformers.pytorch_utils import Conv1D

    peft = _peft()
    targets = [name.strip() for name in config.lora_targets.split(",") if name.strip()]
    try:
        peft.inject_adapter_in_model(
            peft.LoraConfig(
                r=config.lora_rank,
                lora_alpha=config.lora_alpha,
                fan_in_fan_out=any(isinstance(module, Conv1D) for module in language_model.modules()),  # as GPT-2 has
                lora_dropout=0.0,  # a frozen language model is kept in evaluation mode
                target_modules=ALL_LINEAR if targets == [ALL_LINEAR] else targets,
                task_type="CAUSAL_LM",  # the output layer is left as it is
            ),
            language_model,
            adapter_name=ADAPTER,
        )
    except ValueError as error:
        raise UsageError(
            f"lora_targets is {config.lora_targets!r}: {str(error).splitlines()[0][:200]}",
            fix=f"take {ALL_LINEAR}, or ends of names of the language model's linear layers, as in q_proj,v_proj",
        ) from error


def _changed(language_model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Name and layer wherever peft has put one of its own."""
    from peft.tuners.lora import LoraLayer

    for name, module in language_model.named_modules():
        if isinstance(module, LoraLayer):
            yield name, module


def shapes(language_config: Any, config: VideoChatgptConfig) -> dict[str, list[int]]:
    """Layer -> [inputs, outputs] of the layers that LoRA changes; no weight is read."""
    from transformers import AutoModelForCausalLM

    if not config.lora_rank:
        return {}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(language_config)
        _inject(model, config)
    return {name: [module.in_features, module.out_features] for name, module in _changed(model)}


class Up(nn.Linear):
    """The half that starts at zero."""


class LowRank(nn.Module):
    def __init__(self, inputs: int, rank: int, outputs: int) -> None:
        super().__init__()
        self.down = nn.Linear(inputs, rank, bias=False)
        self.up = Up(rank, outputs, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        out: Tensor = self.up(self.down(hidden))
        return out


class LoraWeights(nn.ModuleDict):
    """A LowRank for each layer of `config.lora_shapes`."""

    def __init__(self, config: VideoChatgptConfig) -> None:
        rows = config.lora_shapes.items()
        super().__init__(
            {name.replace(".", "-"): LowRank(inputs, config.lora_rank, outputs) for name, (inputs, outputs) in rows}
        )

    def attach(self, language_model: nn.Module, config: VideoChatgptConfig) -> None:
        """Make the language model compute with these weights: they are shared, not copied."""
        if not config.lora_rank:
            return
        _inject(language_model, config)
        for name, layer in _changed(language_model):
            own = self[name.replace(".", "-")]
            assert isinstance(own, LowRank)
            layer.lora_A[ADAPTER].weight = own.down.weight
            layer.lora_B[ADAPTER].weight = own.up.weight
