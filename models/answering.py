"""What every model with memories and a comment decoder shares: scoring, the loss, and transformers' `generate`.

A subclass owns `embedding` (Embedding), `decoder` (Decoder) and says how a batch of clips becomes memories:

    class LivebotModel(AnsweringModel):
        def encode(self, batch): return self.encoding([video_memory, text_memory])

Legend: B clips, M memory vectors, W width, R responses, S packed tokens, T tokens, N layers, H heads, E head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import Seq2SeqLMOutput
from transformers.utils.generic import ModelOutput

from .decoder import Decoder, Memory
from .encoder import BertEmbedding, Embedding, SummedLoss, TokenEmbedding
from .layers import initialise
from .packing import pack


@dataclass
class Encoding(ModelOutput):
    """A batch of clips, ready to be answered; every tensor has the batch first, so that generation can repeat it.

    last_hidden_state: all memory vectors (B, M, W), in the decoder's order; kv (B, N, 2, H, M, E), mask (B, M): their
    keys and values for every layer and which are real; sizes: how many vectors each memory has.
    """

    last_hidden_state: Tensor | None = None
    kv: Tensor | None = None
    mask: Tensor | None = None
    sizes: tuple[int, ...] | None = None


class AnsweringModel(PreTrainedModel, GenerationMixin):
    main_input_name = "comment_index"
    embedding: Embedding
    decoder: Decoder

    def _init_weights(self, module: nn.Module) -> None:
        initialise(module, self.config.width)

    # -- what a model says of itself

    def encode(self, batch: dict[str, Tensor]) -> Any:
        """The clips of a batch (see `videochat.models.batches`), each encoded once."""
        raise NotImplementedError

    def encoding(self, memories: Sequence[tuple[Tensor, Tensor]]) -> Encoding:
        """Project memories, each (vectors (B, M, W), mask (B, M) with a real vector in every row), for the decoder."""
        projected = [self.decoder.project(index, *memory) for index, memory in enumerate(memories)]
        return Encoding(
            last_hidden_state=torch.cat([vectors for vectors, _ in memories], 1),
            kv=torch.cat([memory.kv for memory in projected], 4),
            mask=torch.cat([memory.mask for memory in projected], 1),
            sizes=tuple(vectors.shape[1] for vectors, _ in memories),
        )

    def memories(self, encoding: Any) -> list[Memory]:
        """The decoder's memories, in its order."""
        parts = zip(encoding.kv.split(encoding.sizes, 4), encoding.mask.split(encoding.sizes, 1), strict=True)
        return [Memory(kv, mask) for kv, mask in parts]

    # -- answers

    def token_log_probs(
        self,
        encoding: Any,
        response_ids: Tensor,
        response_lengths: Tensor,
        response_clip: Tensor,
        *,
        chunk: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Log-probability of each token of each response, end-of-sequence included.

        response_ids: int64 (R, T), begin token, tokens, end token, padding; response_lengths (R,): how many of them
        are real; response_clip (R,): the clip of each, an index into the encoding. chunk: at most so many tokens go
        through the output layer at once (for use without gradients).
        Returns (log_prob_S float32, response_S int64): for each predicted token its value and its response.
        """
        packing = pack((response_lengths - 1).tolist(), response_ids.device)  # inputs: all but the last real token
        source = packing.source(response_ids.shape[1])
        flat = response_ids.flatten()
        hidden_SW = self.decoder.packed(
            self.embedding, flat[source], packing, response_clip[packing.sequence_S], self.memories(encoding)
        )
        labels_S = flat[source + 1]
        parts, step = [], chunk or len(labels_S)
        for hidden, labels in zip(hidden_SW.split(step), labels_S.split(step), strict=True):
            logits = self.embedding.logits(hidden).float()
            parts.append(logits.gather(1, labels[:, None])[:, 0] - logits.logsumexp(-1))
        return torch.cat(parts), packing.sequence_S

    def response_loss(self, encoding: Any, ids: Tensor, lengths: Tensor, clip: Tensor) -> SummedLoss:
        """Teacher forcing: the loss over the responses, given as to `token_log_probs`."""
        log_probs, _ = self.token_log_probs(encoding, ids, lengths, clip)
        return SummedLoss(-log_probs.sum(), torch.tensor(len(log_probs), device=log_probs.device))

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
        """With responses: the summed loss (teacher forcing). With decoder_input_ids (B, T): logits (B, T, vocabulary).

        The other tensors of a batch of clips go by their names; they may be left out where encoder_outputs is given.
        """
        if encoder_outputs is None:
            batch = {"comment_index": comment_index, **clip}
            encoder_outputs = self.encode({name: value for name, value in batch.items() if isinstance(value, Tensor)})
        if response_ids is not None:
            assert response_lengths is not None and response_clip is not None
            return self.response_loss(encoder_outputs, response_ids, response_lengths, response_clip)
        assert decoder_input_ids is not None, "give responses to score or decoder_input_ids to continue"
        cache = getattr(past_key_values, "self_attention_cache", past_key_values)
        hidden = self.decoder.step(self.embedding, decoder_input_ids, self.memories(encoder_outputs), cache)
        logits = self.embedding.logits(hidden).float()
        return Seq2SeqLMOutput(logits=logits, past_key_values=past_key_values)

    # -- what GenerationMixin asks for

    def _validate_model_kwargs(self, model_kwargs: dict[str, Any]) -> None:
        """A batch's tensors are named by the model's collator, not by the signature of `forward`."""

    def get_encoder(self, modality: str | None = None) -> Any:
        return _EncoderForGeneration(self)

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding.word if isinstance(self.embedding, BertEmbedding) else self.embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        assert isinstance(value, nn.Embedding)
        if isinstance(self.embedding, BertEmbedding):
            self.embedding.word = value
        else:
            assert isinstance(value, TokenEmbedding)
            self.embedding = value

    def get_output_embeddings(self) -> nn.Module | None:
        """None where logits are the product with the input embedding."""
        return self.embedding.output if isinstance(self.embedding, BertEmbedding) else None


class _EncoderForGeneration:
    """`AnsweringModel.encode` in the shape that `generate` calls."""

    def __init__(self, model: AnsweringModel) -> None:
        self.model = model

    def forward(self, **kwargs: Any) -> Any:
        return self.model.encode({name: value for name, value in kwargs.items() if isinstance(value, Tensor)})

    __call__ = forward
