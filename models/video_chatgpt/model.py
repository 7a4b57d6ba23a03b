"""Video-ChatGPT-style: one linear layer makes tokens of a frozen language model out of CLIP's frame vectors.

    frames (B, N, D) -> Linear -> N tokens -+
    prompt with the chat -> its embeddings -+-> causal language model, frozen -> comment

Only the adapter and LoRA's changes, where there are any, are weights of this model: the language model is attached,
never saved. With frame_weighting "semantic" each frame is scaled by SFAT's weight before the adapter, so that a frame
that nobody speaks of is left with the adapter's bias. The prompt of a clip goes
through it once; all responses of the clip continue from its keys and values, in training as in ranking.

Source: arXiv 2306.05424 and FACTS §4; README.md lists what differs. Batches: `videochat.models.video_chatgpt.batches`.

Legend: B clips, N frames, D width of CLIP, P prompt tokens, R responses, T tokens, W width of the language model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from ..encoder import SummedLoss
from ..frame_pooling import frame_weights
from .batches import FRAME
from .config import VideoChatgptConfig
from .lora import LoraWeights, Up

# Prompt tokens whose keys and values are copied at once: 8 GB for a language model of 7 B in bfloat16.
COPIED_TOKENS = 16_384


@dataclass(frozen=True, eq=False)
class Prefix:
    """The prompts of B clips in a cache, and which of its P places are real (B, P)."""

    cache: DynamicCache
    mask: Tensor

    def of(self, clips_R: Tensor) -> DynamicCache:
        """A cache with a row for each response."""
        found = DynamicCache()
        layers: list[Any] = self.cache.layers
        for index, layer in enumerate(layers):
            found.update(layer.keys[clips_R], layer.values[clips_R], index)
        return found


class VideoChatgptModel(PreTrainedModel):
    config_class = VideoChatgptConfig
    base_model_prefix = "adapter"
    main_input_name = "prompt_ids"
    generation_start = 0  # `generate` returns the new tokens alone

    def __init__(self, config: VideoChatgptConfig) -> None:
        super().__init__(config)
        self._attached: list[Any] = []  # a list hides it from parameters and state dicts
        self.adapter = nn.Linear(config.clip_dim, config.language_width)
        self.lora = LoraWeights(config)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, Up):
            nn.init.zeros_(module.weight)
        elif isinstance(module, nn.Linear):
            std = module.in_features**-0.5
            nn.init.normal_(module.weight, std=std)
            if module.bias is not None and self.config.frame_weighting == "semantic":
                nn.init.normal_(module.bias, std=std)  # as large as a frame: language models norm what they read
            elif module.bias is not None:
                nn.init.zeros_(module.bias)

    def attach(self, language_model: Any) -> VideoChatgptModel:
        """Give it the language model whose tokens the adapter makes; its own weights are frozen."""
        self._attached[:] = [language_model.eval().requires_grad_(False)]
        assert isinstance(self.config, VideoChatgptConfig)
        self.lora.attach(language_model, self.config)
        return self

    @property
    def language_model(self) -> Any:
        assert self._attached, "attach a language model first"
        return self._attached[0]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> VideoChatgptModel:
        for module in self._attached:
            module._apply(fn, recurse)
        super()._apply(fn, recurse)
        return self

    def weigh_frames(self, batch: dict[str, Tensor]) -> Tensor:
        """SFAT's weights of the frames (B, N), or all alike: which of them count is then inside of the language
        model."""
        config = self.config
        return frame_weights(
            "semantic" if config.frame_weighting == "semantic" else "mean",
            batch["frames"],
            batch["frame_mask"],
            batch.get("comment_clip"),
            batch["comment_mask"],
            temperature=config.frame_temperature,
            weighting=config.weighting,
            aggregation=config.aggregation,
        )

    def _frames(self, batch: dict[str, Tensor]) -> Tensor:
        """The frames (S, D) that become tokens, clip after clip in order of time, scaled by their weights."""
        frames_BND, mask_BN = batch["frames"], batch["frame_mask"]
        if self.config.frame_weighting == "none":
            return frames_BND[mask_BN]
        weights_BN = self.weigh_frames(batch)
        scale_BN = weights_BN / weights_BN.amax(1, keepdim=True).clamp(min=1e-9)
        if 0 < self.config.num_frame_tokens < mask_BN.shape[1]:
            best_BK = weights_BN.masked_fill(~mask_BN, -1).topk(self.config.num_frame_tokens, dim=1).indices
            mask_BN = mask_BN & torch.zeros_like(mask_BN).scatter(1, best_BK, True)
        return (frames_BND * scale_BN[..., None])[mask_BN]

    def prompt_embeddings(self, batch: dict[str, Tensor]) -> Tensor:
        """(B, P, W): the prompts' embeddings with the frames' tokens in their places."""
        ids_BP = batch["prompt_ids"]
        words = self.language_model.get_input_embeddings()(ids_BP.clamp(min=0))
        frames_SW = self.adapter(self._frames(batch)).to(words.dtype)
        return words.masked_scatter((ids_BP == FRAME)[..., None], frames_SW)

    def encode(self, batch: dict[str, Tensor]) -> Prefix:
        """Each clip's prompt through the language model, once."""
        mask = batch["prompt_mask"]
        out = self.language_model(
            inputs_embeds=self.prompt_embeddings(batch),
            attention_mask=mask.long(),
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
            past_key_values=DynamicCache(),
            use_cache=True,
            logits_to_keep=1,
        )
        return Prefix(out.past_key_values, mask)

    def token_log_probs(
        self,
        encoding: Prefix,
        response_ids: Tensor,
        response_lengths: Tensor,
        response_clip: Tensor,
        *,
        chunk: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """As `AnsweringModel.token_log_probs`; at most COPIED_TOKENS tokens of prompts are copied at once."""
        step = max(1, COPIED_TOKENS // max(1, encoding.mask.shape[1]))
        parts = []
        for start in range(0, len(response_ids), step):
            part = slice(start, start + step)
            parts.append(self._log_probs(encoding, response_ids[part], response_lengths[part], response_clip[part]))
        log_probs_RT, real_RT = torch.cat([p for p, _ in parts]), torch.cat([r for _, r in parts])
        owner = torch.arange(len(response_ids), device=response_ids.device)[:, None].expand_as(real_RT)
        return log_probs_RT[real_RT], owner[real_RT]

    def _log_probs(self, encoding: Prefix, ids_RT: Tensor, lengths_R: Tensor, clip_R: Tensor) -> tuple[Tensor, Tensor]:
        """-> log-probability of each next token (R, T - 1) and whether it is real (R, T - 1)."""
        inputs, labels = ids_RT[:, :-1], ids_RT[:, 1:]
        place = torch.arange(inputs.shape[1], device=inputs.device)
        real = place < (lengths_R - 1)[:, None]
        before = encoding.mask[clip_R]
        logits = self.language_model(
            input_ids=inputs,
            attention_mask=torch.cat([before, real], 1).long(),
            position_ids=before.sum(1, keepdim=True) + place,
            past_key_values=encoding.of(clip_R),
            use_cache=True,
        ).logits.float()
        found = logits.gather(2, labels[..., None])[..., 0] - logits.logsumexp(-1)
        return found, real

    def forward(
        self,
        response_ids: Tensor | None = None,
        response_lengths: Tensor | None = None,
        response_clip: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        **clip: Tensor,
    ) -> Any:
        """With responses: the summed loss (teacher forcing). With decoder_input_ids (B, T), the first of them the last
        of the prompt: logits (B, T, vocabulary), computed in one go, without a cache."""
        if decoder_input_ids is not None:
            words = self.language_model.get_input_embeddings()(decoder_input_ids)
            mask = torch.cat([clip["prompt_mask"], torch.ones_like(decoder_input_ids, dtype=torch.bool)], 1)
            out = self.language_model(
                inputs_embeds=torch.cat([self.prompt_embeddings(clip), words], 1),
                attention_mask=mask.long(),
                position_ids=(mask.cumsum(1) - 1).clamp(min=0),
                use_cache=False,
            )
            return CausalLMOutputWithPast(logits=out.logits[:, -words.shape[1] :].float())
        assert response_ids is not None and response_lengths is not None and response_clip is not None
        log_probs, _ = self.token_log_probs(self.encode(clip), response_ids, response_lengths, response_clip)
        return SummedLoss(-log_probs.sum(), torch.tensor(len(log_probs), device=log_probs.device))

    @torch.no_grad()
    def generate(self, *, generation_config: Any, logits_processor: Any = None, **batch: Tensor) -> Tensor:
        """Ids of the new tokens (B, T). The last token of the prompt is added here."""
        words = self.prompt_embeddings(batch)
        last = self.language_model.get_input_embeddings()(batch["last_prompt_id"])[:, None]
        mask = batch["prompt_mask"]
        found: Tensor = self.language_model.generate(
            inputs_embeds=torch.cat([words, last.to(words.dtype)], 1),
            attention_mask=torch.cat([mask, torch.ones_like(mask[:, :1])], 1).long(),
            generation_config=generation_config,
            logits_processor=logits_processor,
        )
        return found
