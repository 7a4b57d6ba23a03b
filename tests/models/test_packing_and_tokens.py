"""Sequences without padding equal padded ones, gradients included; the tokenizer survives hostile chat."""

from __future__ import annotations

import numpy as np
import pytest

from videochat.schema import Comment


@pytest.mark.parametrize("causal", [False, True])
def test_packed_attention_equals_masked_attention(causal):
    import torch
    import torch.nn.functional as F

    from videochat.models.packing import attend_within, pack

    generator = torch.Generator().manual_seed(0)
    lengths = [3, 1, 5, 3, 1, 2]
    query, key, value = torch.randn(3, 6, 5, 2, 4, generator=generator)
    packing = pack(lengths)
    source = packing.source(5)
    found = attend_within(*(x.flatten(0, 1)[source] for x in (query, key, value)), packing, causal=causal)
    mask = (torch.arange(5) < torch.tensor(lengths)[:, None])[:, None, None, :]
    if causal:
        mask = mask & torch.ones(5, 5).tril().bool()
    expected = F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (query, key, value)), attn_mask=mask)
    torch.testing.assert_close(found, expected.transpose(1, 2).flatten(0, 1)[source])
    assert packing.first_U.tolist() == [source.tolist().index(5 * n) for n in range(6)]
    assert packing.last_U.tolist() == [source.tolist().index(5 * n + length - 1) for n, length in enumerate(lengths)]


def test_folding_keeps_every_query_with_its_clip_and_its_gradient():
    import torch

    from videochat.models.packing import attend_folded, fold

    owner = torch.tensor([2, 0, 2, 2, 0])  # clip 1 has no candidate
    scale = torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64).view(3, 1, 1, 1)
    query = torch.randn(5, 2, 3, dtype=torch.float64, requires_grad=True)
    found = attend_folded(query, lambda x: x * scale, fold(owner, 3))
    torch.testing.assert_close(found, query * scale[owner, 0])
    assert torch.autograd.gradcheck(lambda q: attend_folded(q, lambda x: (x * scale).sin(), fold(owner, 3)), query)


def test_training_the_tokenizer_again_gives_the_same(tokenizer, clips):
    from videochat.models.tokenizer import canonical, train_tokenizer

    comments = [c for clip in clips for c in (*clip.context, *clip.responses)]
    assert canonical(train_tokenizer(reversed(comments), vocab_size=500)) == canonical(tokenizer)


def test_special_tokens_in_chat_are_plain_text(tokenizer):
    from videochat.models.tokenizer import BOS, EOS, encoder_of

    ids = encoder_of(tokenizer)("lol [EOS] [MASK] [PAD]", (), 99)
    assert ids[0] == BOS
    assert ids[-1] == EOS
    assert min(ids[1:-1]) > 3


@pytest.mark.parametrize("text", ["", "😀👩‍👩‍👧", "עברית مرحبا", "日本語", "a\u0301", "x" * 500, "\x00\u200f"])
def test_any_text_has_an_encoding_of_bounded_length(tokenizer, text):
    from videochat.models.tokenizer import encoder_of

    encode = encoder_of(tokenizer)
    assert 2 <= len(encode(text, (), 10)) <= 12
    assert encode(text, ("Kappa",), 600)[-2] == tokenizer.convert_tokens_to_ids("<Kappa>")


def test_a_rare_emote_is_spelt_and_a_common_one_is_a_token():
    from videochat.models.tokenizer import encoder_of, train_tokenizer

    comments = [Comment(offset_ms=0, author="", text="hi", emotes=("Common",))] * 5
    comments += [Comment(offset_ms=0, author="", text="hi", emotes=("Rare",))]
    encode = encoder_of(train_tokenizer(comments, vocab_size=400))
    assert len(encode("hi", ("Common",), 50)) == len(encode("hi", (), 50)) + 1
    assert len(encode("hi", ("Rare",), 50)) > len(encode("hi", (), 50)) + 3


def test_masking_touches_neither_padding_nor_begin_nor_end():
    import torch

    from videochat.models.batches import pad
    from videochat.models.mlm import IGNORED, MASK_PROBABILITY, mask_tokens
    from videochat.models.tokenizer import BOS, EOS, MASK

    rows = [(BOS, *range(10, 10 + n % 9), EOS) for n in range(1000)]
    ids, lengths = pad(rows)
    masked, labels = mask_tokens(ids, lengths, np.random.default_rng(0))
    chosen = labels != IGNORED
    inner = ids >= 10
    assert not (chosen & ~inner).any()
    assert (masked[chosen] == MASK).all()
    assert torch.equal(masked[~chosen], ids[~chosen])
    assert torch.equal(labels[chosen], ids[chosen])
    assert float(chosen.sum() / inner.sum()) == pytest.approx(MASK_PROBABILITY, abs=0.02)


def test_a_batch_with_little_text_masks_one_token_and_one_without_masks_none():
    from videochat.models.batches import pad
    from videochat.models.mlm import IGNORED, mask_tokens

    for seed in range(20):
        ids, lengths = pad([(1, 50, 2)])
        assert (mask_tokens(ids, lengths, np.random.default_rng(seed))[1] != IGNORED).sum() == 1
    ids, lengths = pad([(1, 2), (1, 2)])
    assert (mask_tokens(ids, lengths, np.random.default_rng(0))[1] != IGNORED).sum() == 0


def test_repeated_comments_are_encoded_once(make_sfat, views):
    batch = make_sfat().collator.clips(views)
    distinct = {comment.text for clip in views for comment in clip.context}
    assert len(batch["comment_ids"]) == len(distinct) < int(batch["comment_mask"].sum())
