"""`sfat-released`: names, conversion and its refusals, pretrained parts, training by name."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from videochat.commenter import MODELS, LoadContext, TextTable, view
from videochat.errors import Damaged, Mismatch, MissingInput
from videochat.models import catalog  # noqa: F401 (registers the models)
from videochat.workspace import Workspace

torch = pytest.importorskip("torch")

SIZES = {
    "width": 32, "num_context_layers": 2, "num_context_heads": 4, "context_feed_forward_width": 40,
    "max_positions": 16, "num_video_layers": 2, "num_video_heads": 4, "video_feed_forward_width": 12,
    "num_decoder_layers": 2, "num_heads": 4, "feed_forward_width": 20,
}  # fmt: skip
HEADS = {name: SIZES[name] for name in SIZES if name.endswith("_heads")}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz0123456789!?.'", "nice", "one"]
WORDS += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz0123456789"]


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return path


def make_model(seed: int = 0, **fields: Any) -> Any:
    from videochat.models.sfat.config import RELEASED, SfatConfig
    from videochat.models.sfat.model import SfatModel

    torch.manual_seed(seed)
    model = SfatModel(SfatConfig(**{**RELEASED, "vocab_size": len(WORDS), "clip_dim": 16, **SIZES, **fields}))
    for parameter in model.parameters():  # biases and norms, too, so that a wrong place shows
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def released(**fields: Any) -> dict[str, Any]:
    from videochat.models.sfat.names import to_released

    return to_released(make_model(**fields).state_dict())


# -- names


def test_names_go_there_and_back():
    from videochat.models.sfat.names import TABLE, from_released, to_released

    ours = make_model().state_dict()
    state = to_released(ours)
    back = from_released(state, text_tower=False)
    assert back.keys() == ours.keys()
    assert all(torch.equal(back[name], ours[name]) for name in ours)
    again = to_released(back)
    assert again.keys() == state.keys() and all(torch.equal(again[name], state[name]) for name in state)
    names = [name for link in TABLE for name, _ in link.released]
    assert len(names) == len(set(names))


def test_torch_reads_the_names_that_are_written(views):
    """torch's own modules take the tensors under these names and give our video tower and BERT."""
    from transformers import BertConfig, BertModel

    model = make_model()
    state = released()
    layer = torch.nn.TransformerEncoderLayer(16, 4, 12, 0.1, torch.nn.ReLU(), batch_first=True)
    tower = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    start = "video_encoder.transformer."
    tower.load_state_dict({n.removeprefix(start): t for n, t in state.items() if n.startswith(start)}, strict=True)
    hidden = torch.randn(2, 7, 16)
    with torch.no_grad():
        found = hidden
        for own in model.tower.layers:
            from videochat.models.layers import attend_masked

            found = own(found, attend_masked(torch.ones(2, 7, dtype=torch.bool)))
        torch.testing.assert_close(found, tower(hidden), atol=1e-5, rtol=1e-5)
        bert = BertModel(
            BertConfig(
                vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=40,
                max_position_embeddings=16,
            ),
            add_pooling_layer=False,
        ).eval()  # fmt: skip
        start = "context_encoder.bert."
        bert.load_state_dict({n.removeprefix(start): t for n, t in state.items() if n.startswith(start)}, strict=True)
        ids, lengths = torch.tensor([[2, 7, 9, 3, 0], [2, 8, 8, 11, 3]]), torch.tensor([4, 5])
        expected = bert(ids, torch.arange(5) < lengths[:, None]).last_hidden_state[:, 0]
        torch.testing.assert_close(
            model.context_encoder.comments(model.embedding, ids, lengths), expected, atol=1e-5, rtol=1e-5
        )


def test_a_wrong_state_dict_is_refused_by_name():
    from videochat.models.sfat.convert import model_of

    state = released()
    lacking = {name: tensor for name, tensor in state.items() if name != "comment_decoder.fc.bias"}
    with pytest.raises(Mismatch, match=r"comment_decoder\.fc\.bias"):
        model_of(lacking, **HEADS)
    with pytest.raises(Mismatch, match="surprise"):
        model_of(state | {"surprise.weight": torch.zeros(2)}, **HEADS)
    with pytest.raises(Mismatch, match="one module"):
        model_of(state | {"embeddings.LayerNorm.bias": torch.zeros(32)}, **HEADS)
    with pytest.raises(Mismatch, match="lacks"):
        model_of({"a": torch.zeros(2)})
    with pytest.raises(Damaged, match="not finite"):
        model_of(state | {"comment_decoder.fc.bias": torch.full((len(WORDS),), torch.nan)}, **HEADS)


# -- conversion


@pytest.mark.parametrize("form", ["safetensors", "state dict", "training state"])
def test_a_converted_checkpoint_gives_the_same_logits(form, tmp_path, vocabulary, views):
    from safetensors.torch import save_file

    from videochat.models.sfat.convert import convert
    from videochat.models.sfat.model import SfatModel

    state = released()
    source = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pth")
    if form == "safetensors":
        save_file({name: tensor.clone().contiguous() for name, tensor in state.items()}, source)
    elif form == "state dict":
        torch.save(state, source)
    else:
        training = {"epoch": 3, "model": state, "model_optimizer": {"state": {}, "param_groups": [{"lr": 1e-4}]}}
        torch.save({**training, "train_loss_track": [0.5], "test_loss_track": [0.6]}, source)
    info = convert(source, tmp_path / "out", tokenizer=str(vocabulary), **HEADS)
    found = SfatModel.from_pretrained(tmp_path / "out").eval()
    expected = make_model()
    assert info["num_parameters"] == sum(p.numel() for p in expected.parameters())
    assert all(torch.equal(a, b) for a, b in zip(found.parameters(), expected.parameters(), strict=True))
    assert (found.config.bos_token_id, found.config.eos_token_id, found.config.pad_token_id) == (2, 3, 0)
    assert json.loads((tmp_path / "out/training.json").read_text())["converted"]["file"] == source.name


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_a_malicious_pickle_is_refused_and_not_run(tmp_path, vocabulary):
    from videochat.models.sfat.convert import read_state

    torch.save({"model": released(), "extra": Evil(tmp_path / "owned")}, tmp_path / "evil.pth")
    with pytest.raises(Damaged, match="more than tensors"):
        read_state(tmp_path / "evil.pth")
    assert not (tmp_path / "owned").exists()
    (tmp_path / "noise.pt").write_bytes(b"\x80\x05garbage")
    with pytest.raises(Damaged):
        read_state(tmp_path / "noise.pt")
    (tmp_path / "noise.safetensors").write_bytes(b"garbage")
    with pytest.raises(Damaged):
        read_state(tmp_path / "noise.safetensors")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(Damaged, match="no state dict"):
        read_state(tmp_path / "empty.pth")
    with pytest.raises(MissingInput):
        read_state(tmp_path / "none.pth")


def test_the_text_tower_of_a_checkpoint_is_kept_or_left_out(tmp_path):
    from transformers import CLIPConfig, CLIPModel

    from videochat.models.sfat.convert import model_of

    torch.manual_seed(1)
    text = {"vocab_size": 90, "hidden_size": 64, "intermediate_size": 20, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 1, "max_position_embeddings": 10, "projection_dim": 16}
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    vision |= {"image_size": 8, "patch_size": 4, "projection_dim": 16}
    ends = {"bos_token_id": 88, "eos_token_id": 2, "pad_token_id": 0}
    clip = CLIPModel(CLIPConfig(text_config={**text, **ends}, vision_config=vision, projection_dim=16)).eval()
    state = released() | {f"video_encoder.clip.{name}": tensor for name, tensor in clip.state_dict().items()}
    model = model_of(state, **HEADS)
    assert model.config.text_tower == "tuned"
    ids = torch.tensor([[88, 5, 6, 89, 0, 0], [88, 7, 8, 9, 4, 89]])
    with torch.no_grad():
        expected = clip.get_text_features(input_ids=ids, attention_mask=ids > 0)
        expected = getattr(expected, "pooler_output", expected)
        found = model.text_features({"clip_ids": ids, "clip_index": torch.tensor([[0, 1, 0]])})
    torch.testing.assert_close(found[0], expected[[0, 1, 0]], atol=1e-5, rtol=1e-5)
    assert all(parameter.requires_grad for parameter in model.text_tower.parameters())
    frozen = model_of(state, text_tower="frozen", **HEADS)
    assert not any(parameter.requires_grad for parameter in frozen.text_tower.parameters())
    assert not hasattr(model_of(state, text_tower="stored", **HEADS), "text_tower")


@pytest.mark.fixtures
def test_clip_tokens_are_those_of_the_published_tokenizer():
    from videochat.models.sfat.clip_tokens import CLIP_TOKENS, clip_encoder

    path = Path(__file__).parents[3] / "shared/fixtures/vectors/clip_tokenizer_vectors.json"
    if not path.is_file():
        pytest.skip(f"no {path.name} beside the checkout")
    encode = clip_encoder()
    vectors = json.loads(path.read_text(encoding="utf-8"))
    differing = set()
    for vector in vectors:
        expected = vector["ids"]
        if len(expected) > CLIP_TOKENS:
            expected = [*expected[: CLIP_TOKENS - 1], expected[-1]]
        if list(encode(vector["text"])) != expected:
            differing.add(vector["name"])
    assert differing == {"CONTROL_TOKENS", "TILDE_NORMALIZATION"}  # these are mended before they are read


def test_the_command_converts_and_the_result_ranks(tmp_path, vocabulary, dummies: ModuleType):
    from videochat.cli import main

    data = dummies.make_dataset(tmp_path / "w", num_channels=4, clips_per_recording=3, dim=16)
    source = tmp_path / "w.pth"
    state = released(num_context_heads=1, num_video_heads=8, num_heads=8)  # the heads that shapes imply
    torch.save({"model": state}, source)
    workspace = Workspace.open(tmp_path / "w")
    arguments = ["convert-checkpoint", str(source), "--data", str(tmp_path / "w"), "--tokenizer", str(vocabulary)]
    assert exit_code(main, arguments) == 0
    context = LoadContext(workspace=workspace, dataset=data, checkpoint=workspace.checkpoint_dir("sfat-released"))
    commenter = MODELS["sfat-released"].load(context)
    views = [view(clip) for clip in data.clips("test")]
    found = commenter.score(views, [[0, 1]] * len(views), TextTable(["nice one", "a b"], ["nice one", "a b"]))
    assert all(np.isfinite(row.score).all() for row in found)
    assert all(commenter.generate(views[:2], max_new_tokens=4))
    with pytest.raises(Mismatch, match="converted"):  # training would write over it
        MODELS["sfat-released"].train(context)
    assert exit_code(main, arguments) == 2
    assert exit_code(main, [*arguments, "--overwrite"]) == 0


def exit_code(main: Callable[..., Any], arguments: list[str]) -> int:
    try:
        return int(main(arguments) or 0)
    except SystemExit as done:
        return int(done.code or 0)


# -- training


def make_context(root: Path, dummies: ModuleType, **options: Any) -> LoadContext:
    data = dummies.make_dataset(root, num_channels=4, clips_per_recording=4, dim=16)
    workspace = Workspace.open(root)
    quick = {**SIZES, "size": "sample", "epochs": 2, "mlm_epochs": 1, "vocab_size": 400, "batch_size": 8}
    return LoadContext(
        workspace=workspace,
        dataset=data,
        checkpoint=workspace.checkpoint_dir("sfat-released"),
        options={**quick, **options},
    )


def test_training_by_name_writes_a_checkpoint_that_scores_alike_from_the_same_seed(tmp_path, dummies):
    context = make_context(tmp_path / "a", dummies)
    MODELS["sfat-released"].train(context)
    log = [json.loads(line)["stage"] for line in (context.checkpoint / "training.jsonl").read_text().splitlines()]
    assert log == ["mlm", "answers", "answers"]
    assert "released code" in (context.checkpoint / "README.md").read_text()
    commenter = MODELS["sfat-released"].load(context)
    views = [view(clip) for clip in context.dataset.clips("test")]
    assert len(commenter.score(views, [[0]] * len(views), TextTable(["lol"], ["lol"]))) == len(views)
    for weights, clip in zip(commenter.frame_weights(views), views, strict=True):
        assert weights.sum() == pytest.approx(1.0, abs=1e-5) if clip.context else weights.sum() == 0
    other = make_context(tmp_path / "b", dummies)
    MODELS["sfat-released"].train(other)
    name = "model.safetensors"
    assert (other.checkpoint / name).read_bytes() == (context.checkpoint / name).read_bytes()


def test_pretrained_parts_by_folder_are_loaded_and_trained(tmp_path, dummies, vocabulary):
    """A BERT and a CLIP text tower that this test makes, as the released code takes published ones by name."""
    from transformers import BertConfig, BertModel, CLIPTextConfig, CLIPTextModelWithProjection

    torch.manual_seed(3)
    bert = tmp_path / "bert"
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=40,
        max_position_embeddings=16,
    )  # fmt: skip
    made = BertModel(config)
    made.save_pretrained(bert)
    (bert / "vocab.txt").write_bytes(vocabulary.read_bytes())
    clip = tmp_path / "clip"
    CLIPTextModelWithProjection(
        CLIPTextConfig(
            vocab_size=49_408, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
            max_position_embeddings=10, projection_dim=16,
        )
    ).save_pretrained(clip)  # fmt: skip
    options = {"bert": str(bert), "clip_text_model": str(clip), "text_tower": "tuned", "epochs": 1, "mlm_epochs": 0}
    options["learning_rate"] = 1e-7  # hardly moves: what is loaded is still there
    context = make_context(tmp_path / "w", dummies, **options)
    settled = {"width", "num_context_layers", "num_context_heads", "context_feed_forward_width", "max_positions"}
    free = {name: value for name, value in context.options.items() if name not in settled}
    context = dataclasses.replace(context, options=free)
    MODELS["sfat-released"].train(context)
    commenter = MODELS["sfat-released"].load(context)
    model = commenter.model
    assert model.config.num_context_layers == 1
    assert (model.config.bert, model.config.clip_text_model) == ("bert", "clip")  # not where they lay
    assert str(tmp_path) not in (context.checkpoint / "config.json").read_text()
    expected = made.state_dict()["embeddings.word_embeddings.weight"]
    torch.testing.assert_close(model.embedding.word.weight, expected, atol=1e-4, rtol=0)
    assert "text_embeddings" not in commenter.needs
    assert commenter.collator.encode("nice one", ("Kappa",), 8) == (2, WORDS.index("nice"), WORDS.index("one"), 3)
    views = [view(clip) for clip in context.dataset.clips("test")]
    together = commenter.score(views, [[0]] * len(views), TextTable(["nice"], ["nice"]))
    alone = commenter.score(views[:1], [[0]], TextTable(["nice"], ["nice"]))
    assert together[0].score[0] == pytest.approx(alone[0].score[0], abs=1e-5)
    with pytest.raises(MissingInput, match="cannot be loaded"):
        MODELS["sfat-released"].train(make_context(tmp_path / "v", dummies, bert=str(tmp_path / "nothing")))


@pytest.mark.slow
def test_a_fresh_process_gives_the_same_logits(tmp_path):
    """`from_pretrained` builds on the meta device: what is not a saved weight would come back as garbage."""
    from safetensors.torch import load_file, save_file

    torch.manual_seed(5)
    model = make_model()
    model.save_pretrained(tmp_path)
    batch = {
        "comment_ids": torch.tensor([[2, 7, 3]]),
        "comment_lengths": torch.tensor([3]),
        "comment_index": torch.zeros(1, 2, dtype=torch.int64),
        "comment_mask": torch.ones(1, 2, dtype=torch.bool),
        "comment_clip": torch.randn(1, 2, 16),
        "frames": torch.randn(1, 5, 16),
        "frame_mask": torch.ones(1, 5, dtype=torch.bool),
        "decoder_input_ids": torch.tensor([[2, 8, 9]]),
    }
    save_file(batch, tmp_path / "batch.safetensors")
    code = (
        "import sys; from safetensors.torch import load_file, save_file;"
        "from videochat.models.sfat.model import SfatModel;"
        "model = SfatModel.from_pretrained(sys.argv[1]).eval();"
        "logits = model(**load_file(sys.argv[1] + '/batch.safetensors')).logits.detach();"
        "save_file({'logits': logits}, sys.argv[1] + '/logits.safetensors')"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, check=True)
    with torch.no_grad():
        expected = model(**batch).logits
    torch.testing.assert_close(load_file(tmp_path / "logits.safetensors")["logits"], expected, atol=1e-6, rtol=0)
