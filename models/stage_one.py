"""Stage 1 on a model: its token embedding and context encoder learn the training split's chat by MLM.

Any model with a `TokenEmbedding` called `embedding` and a `ContextEncoder` called `context_encoder` can have it; two
whose encoders have the same shape share one result (see `videochat.models.mlm`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from videochat.commenter import LoadContext
from videochat.files import digest_json

from . import mlm
from .batches import comment_text
from .encoder import ContextEncoder, Embedding, MlmModel, TokenEmbedding
from .layers import initialise
from .tokenizer import canonical, encoder_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from .training_run import TrainingSettings


def pretrain_context(
    model: Any, context: LoadContext, settings: TrainingSettings, tokenizer: PreTrainedTokenizerFast
) -> list[dict[str, Any]]:
    """Give `model` a pretrained embedding and context encoder, the same for all variants. Returns the log."""
    if not settings.mlm_epochs:
        return []
    config = model.config
    shape = getattr(config, "context_shape", None) or {
        "width": config.width,
        "num_heads": config.num_heads,
        "hidden_width": config.feed_forward_width,
        "num_layers": config.num_context_layers,
        "dropout": config.dropout,
    }
    keys = {comment_text(comment) for comment in context.dataset.comments("train")}
    return pretrain_encoder(
        model.embedding,
        model.context_encoder,
        sorted(keys),
        shape=shape,
        max_tokens=config.max_comment_tokens,
        context=context,
        settings=settings,
        tokenizer=tokenizer,
    )


def pretrain_encoder(
    embedding: Embedding,
    encoder: ContextEncoder,
    texts: Sequence[tuple[str, tuple[str, ...]]],
    *,
    shape: dict[str, Any],
    max_tokens: int,
    context: LoadContext,
    settings: TrainingSettings,
    tokenizer: PreTrainedTokenizerFast,
    goes_on: bool = False,
) -> list[dict[str, Any]]:
    """Fill `embedding` and `encoder`, an encoder of this shape, by MLM on (text, emotes). Returns the log.

    goes_on: start from the weights that the chat's own stage 1 has left in them, and keep the embedding as it is;
    otherwise start anew from the seed.
    """
    assert isinstance(embedding, TokenEmbedding), "BERT has a stage 1 of its own"
    torch.manual_seed(context.seed)
    pretrained = MlmModel(TokenEmbedding(embedding.num_embeddings, embedding.embedding_dim), ContextEncoder(**shape))
    pretrained.apply(lambda module: initialise(module, embedding.embedding_dim))
    identity = {
        "data": context.dataset.digest,
        "tokenizer": digest_json(canonical(tokenizer)),
        "max_comment_tokens": max_tokens,
        **shape,
    }
    if goes_on:
        pretrained.embedding.load_state_dict(embedding.state_dict())
        pretrained.encoder.load_state_dict(encoder.state_dict())
        pretrained.embedding.requires_grad_(False)
        identity |= {"texts": digest_json(texts), "starts_from": digest_of(encoder)}
    encode = encoder_of(tokenizer)
    log = mlm.pretrain(
        pretrained,
        [encode(*text, max_tokens) for text in texts],
        settings=settings.mlm,
        seed=context.seed,
        identity=identity,
        folder=context.checkpoint.parent,
        device=context.device,
        mask_id=int(tokenizer.mask_token_id),
    )
    embedding.load_state_dict(pretrained.embedding.state_dict())
    encoder.load_state_dict(pretrained.encoder.state_dict())
    return log


def digest_of(module: nn.Module) -> str:
    """Digest of all weights, so that a result is never taken up on another start."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
