"""The released SFAT, tensor for tensor: one projection for frames and chat, a softmax for each comment, post-norm.

    frames (CLIP) -> Linear, sinusoids, 4 layers --shared projection, L2--+-- softmax over frames for each comment,
    comments -> CLIP text tower or stored -------shared projection, L2--+   weighted sums, summed --> one video token
    comments -> BERT [CLS] -----------------------------------------------> decoder reads comments, then video

Source: FACTS §1 (arXiv 2510.26978 and its released code); README.md says what is the same and what is not. Names of
the released parameters: `names.py`. Batches are those of `videochat.models.batches`, and for a text tower inside the
model clip_ids int64 (V, L) and clip_index (B, C) as `clip_tokens.add_clip_tokens` makes them.

Legend: B clips, N frames, C context comments, D width of CLIP, W width, U distinct comments, R responses, S packed
tokens, T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.utils.generic import ModelOutput

from ..answering import AnsweringModel
from ..decoder import Memory
from ..encoder import SummedLoss
from ..layers import attend_masked
from .config import SfatReleasedConfig
from .layers import BertEmbedding, BertEncoder, PostNormDecoder, PostNormLayer


@dataclass
class SfatReleasedEncoding(ModelOutput):
    """A batch of clips, ready to be answered; every tensor has the batch first.

    last_hidden_state: comment vectors and the video token (B, C + 1, W); comment_frame_weights: (B, N, C), each
    column a softmax over the frames; *_kv, *_mask: see `videochat.models.decoder.Memory`.
    """

    last_hidden_state: Tensor | None = None
    comment_frame_weights: Tensor | None = None
    text_kv: Tensor | None = None
    text_mask: Tensor | None = None
    video_kv: Tensor | None = None
    video_mask: Tensor | None = None


class SfatReleasedModel(AnsweringModel):
    config_class = SfatReleasedConfig
    base_model_prefix = "sfat_released"
    embedding: BertEmbedding  # type: ignore[assignment]  # it embeds and gives logits as a TokenEmbedding does
    decoder: PostNormDecoder

    def __init__(self, config: SfatReleasedConfig) -> None:
        super().__init__(config)
        width, dropout = config.width, config.dropout
        self.embedding = BertEmbedding(config.vocab_size, width, config.max_positions)
        self.context_encoder = BertEncoder(
            width=width,
            num_heads=config.num_context_heads,
            hidden_width=config.context_feed_forward_width,
            num_layers=config.num_context_layers,
            dropout=dropout,
        )
        self.frame_projection = nn.Linear(config.clip_dim, config.clip_dim)
        self.frame_dropout = nn.Dropout(dropout)
        self.video_layers = nn.ModuleList(
            PostNormLayer(
                config.clip_dim,
                config.num_video_heads,
                config.video_feed_forward_width,
                dropout,
                activation=nn.ReLU(),
                epsilon=1e-5,
            )
            for _ in range(config.num_video_layers)
        )
        self.shared_projection = nn.Linear(config.clip_dim, width)
        if config.text_tower != "stored":
            from transformers import CLIPTextConfig, CLIPTextModelWithProjection

            self.text_tower = CLIPTextModelWithProjection(CLIPTextConfig(**(config.clip_text or {})))
            self.text_tower.requires_grad_(config.text_tower == "tuned")
        self.decoder = PostNormDecoder(
            width=width,
            num_heads=config.num_decoder_heads,
            hidden_width=config.decoder_feed_forward_width,
            num_layers=config.num_decoder_layers,
            num_memories=2,
            dropout=dropout,
        )
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """As BERT and torch start: embeddings at deviation 0.02, linear layers uniform by fan-in."""
        if isinstance(module, nn.Linear):
            nn.init.kaiming_uniform_(module.weight, a=5**0.5)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)

    # -- encoding a batch of clips

    def comment_vectors(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """[CLS] of each comment (B, C, W) and which are real (B, C). A clip without chat has one empty comment."""
        mask_BC, index_BC, ids, lengths = (
            batch[name] for name in ("comment_mask", "comment_index", "comment_ids", "comment_lengths")
        )
        silent_B = ~mask_BC.any(1)
        if silent_B.any():
            empty = torch.zeros_like(ids[:1, : max(2, ids.shape[1])])
            empty = F.pad(empty, (0, max(2, ids.shape[1]) - empty.shape[1]))
            empty[0, 0], empty[0, 1] = self.config.bos_token_id, self.config.eos_token_id
            ids = torch.cat([F.pad(ids, (0, empty.shape[1] - ids.shape[1])), empty])
            lengths = torch.cat([lengths, torch.full_like(lengths[:1], 2)])
            first = torch.arange(mask_BC.shape[1], device=mask_BC.device) == 0
            place = silent_B[:, None] & first
            index_BC = torch.where(place, ids.shape[0] - 1, index_BC)
            mask_BC = mask_BC | place
        vectors_UW = self.context_encoder.comments(self.embedding, ids, lengths)
        return vectors_UW.index_select(0, index_BC.flatten()).unflatten(0, mask_BC.shape), mask_BC

    def text_features(self, batch: dict[str, Tensor]) -> Tensor:
        """CLIP's text features of the comments (B, C, D), not normalised where the tower runs here."""
        if self.config.text_tower == "stored":
            return batch["comment_clip"] * self.config.text_norm
        index_BC = batch["clip_index"]
        features_VD = self.text_tower(input_ids=batch["clip_ids"]).text_embeds
        return features_VD.index_select(0, index_BC.flatten()).unflatten(0, index_BC.shape)

    def weighted_frames(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The video token (B, 1, W) and the weights of the frames for each comment (B, N, C).

        A column sums to 1; it is 0 for an absent comment and in a clip without frames.
        """
        frames_BND, mask_BN = batch["frames"] * self.config.frame_norm, batch["frame_mask"]
        hidden = self.frame_dropout(self.frame_projection(frames_BND))
        hidden = hidden + interleaved_sinusoids(hidden.shape[1], hidden.shape[2], hidden.device).to(hidden.dtype)
        anything_BN = mask_BN | ~mask_BN.any(1, keepdim=True)  # attention over nothing is not a number
        for layer in self.video_layers:
            hidden = layer(hidden, attend_masked(anything_BN))
        video_BNW = F.normalize(self.shared_projection(hidden), dim=-1)
        text_BCW = F.normalize(self.shared_projection(self.text_features(batch)), dim=-1)
        logits_BNC = video_BNW @ text_BCW.transpose(1, 2) / self.config.frame_temperature
        real_BNC = mask_BN[:, :, None] & batch["comment_mask"][:, None, :]
        logits_BNC = logits_BNC.masked_fill(~mask_BN[:, :, None], torch.finfo(logits_BNC.dtype).min)
        weights_BNC = torch.softmax(logits_BNC, dim=1) * real_BNC
        token_BW = torch.einsum("bnc,bnw->bw", weights_BNC, video_BNW)  # weighted for each comment, then summed
        return token_BW[:, None], weights_BNC

    def weigh_frames(self, batch: dict[str, Tensor]) -> Tensor:
        """The mean over comments of their frame weights (B, N); all 0 without chat, as the video token then is."""
        weights_BNC = self.weighted_frames(batch)[1]
        return weights_BNC.sum(-1) / batch["comment_mask"].sum(1, keepdim=True).clamp(min=1)

    def encode(self, batch: dict[str, Tensor]) -> SfatReleasedEncoding:
        """Encode each clip once and project the decoder's keys and values once."""
        text_BCW, text_mask = self.comment_vectors(batch)
        video_B1W, weights_BNC = self.weighted_frames(batch)
        text = self.decoder.project(0, text_BCW, text_mask)
        video = self.decoder.project(1, video_B1W, torch.ones_like(text_mask[:, :1]))
        return SfatReleasedEncoding(
            last_hidden_state=torch.cat([text_BCW, video_B1W], 1),
            comment_frame_weights=weights_BNC,
            text_kv=text.kv,
            text_mask=text.mask,
            video_kv=video.kv,
            video_mask=video.mask,
        )

    def memories(self, encoding: Any) -> list[Memory]:
        return [Memory(encoding.text_kv, encoding.text_mask), Memory(encoding.video_kv, encoding.video_mask)]

    # -- answers

    def logits(
        self, encoding: SfatReleasedEncoding, ids_BT: Tensor, mask_BT: Tensor | None = None, *, causal: bool = True
    ) -> Tensor:
        """Logits (B, T, vocabulary) of padded rows, one a clip, as the released code computes them.

        Teacher forcing there is causal with mask_BT (bool, True: a real token); its generation is neither.
        """
        allowed = None
        if causal:
            place = torch.arange(ids_BT.shape[1], device=ids_BT.device)
            allowed = (place[:, None] >= place)[None, None]
        if mask_BT is not None:
            keys = mask_BT[:, None, None, :]
            allowed = keys if allowed is None else allowed & keys
        hidden = self.decoder.padded(self.embedding, ids_BT, allowed, self.memories(encoding))
        return self.embedding.logits(hidden).float()

    def _padded_loss(self, encoding: SfatReleasedEncoding, ids: Tensor, lengths: Tensor, clip: Tensor) -> SummedLoss:
        """The released loss, summed: every position up to the full length counts, padding too."""
        full = self.config.max_response_tokens + 2
        target = F.pad(ids[:, :full], (0, full - min(full, ids.shape[1])), value=self.config.pad_token_id)
        real = torch.arange(full, device=ids.device) < lengths[:, None]
        target = target.masked_fill(~real, self.config.pad_token_id)
        rows = {name: None if value is None else value[clip] for name, value in encoding.items()}
        logits = self.logits(SfatReleasedEncoding(**rows), target[:, :-1], real[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), target[:, 1:].flatten(), reduction="sum")
        return SummedLoss(loss, torch.tensor(target[:, 1:].numel(), device=loss.device))

    def forward(
        self,
        comment_index: Tensor | None = None,
        response_ids: Tensor | None = None,
        response_lengths: Tensor | None = None,
        response_clip: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        encoder_outputs: Any = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
        **clip: Any,
    ) -> Any:
        """As `AnsweringModel.forward`; with `count_padding` the loss over responses is the released one."""
        if response_ids is None or not self.config.count_padding:
            return super().forward(
                comment_index,
                response_ids,
                response_lengths,
                response_clip,
                decoder_input_ids,
                encoder_outputs,
                past_key_values,
                use_cache,
                return_dict,
                **clip,
            )
        assert response_lengths is not None and response_clip is not None
        if encoder_outputs is None:
            batch = {"comment_index": comment_index, **clip}
            encoder_outputs = self.encode({name: value for name, value in batch.items() if isinstance(value, Tensor)})
        return self._padded_loss(encoder_outputs, response_ids, response_lengths, response_clip)

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding.word

    def set_input_embeddings(self, value: nn.Module) -> None:
        assert isinstance(value, nn.Embedding)
        self.embedding.word = value

    def get_output_embeddings(self) -> nn.Module:  # type: ignore[override]
        return self.embedding.output


def interleaved_sinusoids(num_positions: int, width: int, device: torch.device) -> Tensor:
    """(num_positions, width): sines at even, cosines at odd places (Vaswani et al. 2017, §3.5).

    Computed when needed: a table kept in the module would not survive `from_pretrained` (FACTS §10).
    """
    rate = 10_000.0 ** (-torch.arange(0, width, 2, device=device, dtype=torch.float32) / width)
    angle = torch.arange(num_positions, device=device, dtype=torch.float32)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)
