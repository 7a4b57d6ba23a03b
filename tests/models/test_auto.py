"""A checkpoint folder opens through transformers' auto classes."""

from __future__ import annotations

import pytest

from videochat.models import auto


@pytest.mark.parametrize("folder", auto.FOLDERS)
def test_a_saved_model_comes_back_as_its_own_class(make_model, views, tmp_path, folder):
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForSeq2SeqLM

    assert auto.register() == auto.register()
    made = make_model(folder)
    made.model.save_pretrained(tmp_path)
    assert type(AutoConfig.from_pretrained(tmp_path)) is type(made.model.config)
    batch, ids = made.collator.clips(views[:2]), torch.tensor([[1, 5]] * 2)
    for kind in (AutoModel, AutoModelForSeq2SeqLM):
        found = kind.from_pretrained(tmp_path).eval()
        assert type(found) is type(made.model)
        with torch.no_grad():
            expected = made.model(**batch, decoder_input_ids=ids).logits
            torch.testing.assert_close(found(**batch, decoder_input_ids=ids).logits, expected)


def test_every_model_type_is_told_apart():
    types = auto.register()
    assert len(set(types)) == len(types) == len(auto.FOLDERS)
