"""The CLIP loader and encoders: weights that are really there, preprocessing that is open_clip's, exact trimming."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import ffmpeg
import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from videochat.errors import MissingInput, UsageError, VideochatError
from videochat.frames.clip_model import ClipModel, load_clip
from videochat.frames.decode import frames_at
from videochat.frames.video import ffmpeg_path
from videochat.frames.weights import tensors_digest

TINY = {
    "model_cfg": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
    },
    "preprocess_cfg": {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]},
}


def folder_of(path: Path, *, weights: bool = True, seed: int = 0, **changes: dict[str, object]) -> Path:
    """An open_clip local-dir with a tiny model; `weights` False leaves them out."""
    config = json.loads(json.dumps(TINY))
    for part, values in changes.items():
        config["model_cfg" if part.endswith("_cfg") and part != "preprocess_cfg" else part].update(
            {part: config["model_cfg"][part] | values} if part in config["model_cfg"] else values
        )
    path.mkdir()
    (path / "open_clip_config.json").write_text(json.dumps(config))
    if weights:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = open_clip.create_model(f"local-dir:{path}", load_weights=False)
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path / "open_clip_model.safetensors")
    return path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ClipModel:
    return load_clip(str(folder_of(tmp_path_factory.mktemp("clip") / "tiny")))


def test_a_folder_without_weights_is_refused_unless_asked_for(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "bare", weights=False)
    with pytest.raises(MissingInput, match="untrained"):
        load_clip(str(folder))
    (folder / "open_clip_pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(MissingInput, match="pickle"):
        load_clip(str(folder))
    clip = load_clip(str(folder), allow_untrained=True)
    assert not clip.trained and clip.fingerprint["model"].startswith("untrained:")


def test_weights_that_do_not_fit_the_config_are_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "wrong")
    save_file({"logit_scale": torch.ones([])}, folder / "open_clip_model.safetensors")
    with pytest.raises(VideochatError, match="could not be loaded"):
        load_clip(str(folder))


def test_the_fingerprint_follows_the_tensors_that_are_loaded(tmp_path: Path, tiny: ClipModel) -> None:
    one, other = tiny.fingerprint, load_clip(str(folder_of(tmp_path / "other", seed=1))).fingerprint
    assert one["weights"] != other["weights"] and one["weights"] == tensors_digest(tiny._model)
    assert {k: v for k, v in one.items() if k not in ("weights", "model")} == {
        k: v for k, v in other.items() if k not in ("weights", "model")
    }
    assert (one["dim"], one["precision"], one["context_length"], one["trained"]) == (16, "float32", 77, True)
    assert json.loads(json.dumps(one)) == one


@pytest.mark.slow
def test_untrained_by_name_is_the_same_every_time_and_leaves_the_random_state() -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first, second = (load_clip("untrained:RN50").fingerprint for _ in range(2))
    assert first == second and not first["trained"] and first["model"] == "untrained:RN50"
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        ("nothing", "no such folder"),
        ("ViT-B-33:openai", "did you mean ViT-B-32"),
        ("untrained:ViT-B-33", "did you mean"),
        ("ViT-B-32:no-such-weights", "no pretrained weights"),
    ],
)
def test_unknown_models_are_usage_errors(spec: str, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        load_clip(spec)


def test_no_hub_is_one_clear_error_that_names_the_choices() -> None:
    with pytest.raises(VideochatError, match=r"could not be loaded from the model hub.*--clip sample.*precomputed"):
        load_clip("ViT-B-32:laion2b_s34b_b79k")


def test_no_folder_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match=r"open_clip_config\.json"):
        load_clip(str(tmp_path))


def test_devices_that_are_not_there() -> None:
    with pytest.raises(UsageError, match="unknown device"):
        load_clip("untrained:ViT-B-32", "tpu")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="no CUDA device"):
            load_clip("untrained:ViT-B-32", "cuda")


def test_texts_are_embedded_once_in_order_and_trimming_changes_nothing(tiny: ClipModel) -> None:
    texts = ["gg", "what a play by the red dragon", "gg", "", "😀 مرحبا", "lol " * 200]
    found = tiny.encode_texts(texts)
    assert found.shape == (6, 16) and found.dtype == np.float16
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_allclose(np.linalg.norm(found.astype(np.float32), axis=1), 1, atol=2e-3)
    assert tiny._tower.trims
    with torch.inference_mode():
        full = torch.nn.functional.normalize(tiny._model.encode_text(tiny._tower.tokens(texts)), dim=-1).numpy()
        ids = tiny._tower.tokens(texts)
        short = tiny._tower._features(ids[:1, : int(tiny._tower.ends(ids)[0]) + 1])
        whole = tiny._model.encode_text(ids[:1])
    np.testing.assert_allclose(short.numpy(), whole.numpy(), atol=1e-5)
    np.testing.assert_allclose(found, full, atol=1e-3)  # float16 rounding of unit vectors
    assert tiny.encode_texts([]).shape == (0, 16)


def test_a_tower_that_is_not_causal_is_not_trimmed(tmp_path: Path) -> None:
    clip = load_clip(str(folder_of(tmp_path / "full", text_cfg={"no_causal_mask": True})))
    assert not clip._tower.trims
    with torch.inference_mode():
        full = torch.nn.functional.normalize(clip._model.encode_text(clip._tower.tokens(["hello", "you"])), dim=-1)
    np.testing.assert_allclose(clip.encode_texts(["hello", "you"]), full.numpy(), atol=1e-3)


def test_images_have_unit_length_and_no_neighbour_changes_them(tiny: ClipModel) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    found = tiny.encode_images(images)
    assert found.shape == (40, 16) and found.dtype == np.float16
    np.testing.assert_allclose(np.linalg.norm(found.astype(np.float32), axis=1), 1, atol=2e-3)
    np.testing.assert_allclose(tiny.encode_images(images[3:4])[0], found[3], atol=2e-3)
    np.testing.assert_array_equal(tiny.encode_images(images[:32]), found[:32])  # whole batches give equal bytes
    assert tiny.encode_images(images[:0]).shape == (0, 16)


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of one second with fine detail, three times as large as the model's input."""
    path = tmp_path_factory.mktemp("video") / "m.mp4"
    source = ffmpeg.input("mandelbrot=size=160x96:rate=10", format="lavfi", t=1).filter("noise", alls=30, allf="t")
    output = ffmpeg.output(source, str(path), vcodec="libx264", qp=10, pix_fmt="yuv420p")
    subprocess.run(output.global_args("-loglevel", "error").compile(cmd=ffmpeg_path()), check=True)
    return path


def test_preprocessing_is_open_clips(tiny: ClipModel, picture: Path) -> None:
    """The decoder's resize gives the features of open_clip's PIL resize; one without antialiasing does not."""
    preprocess = open_clip.transform.image_transform_v2(
        open_clip.transform.PreprocessCfg(**open_clip.get_model_preprocess_cfg(tiny._model)), is_train=False
    )
    shortest = tiny.preprocessing.decoder_shortest
    assert shortest == 32
    for stored, scaled in zip(frames_at(picture, [0, 500]), frames_at(picture, [0, 500], shortest=32), strict=True):
        with torch.inference_mode():
            pixels = preprocess(Image.fromarray(stored.rgb))[None]
            expected = torch.nn.functional.normalize(tiny._model.encode_image(pixels), dim=-1)[0].numpy()
        ours = tiny.prepare(scaled.rgb)
        mean, std = (np.array(v, np.float32) for v in (tiny.preprocessing.mean, tiny.preprocessing.std))
        ours_pixels = ((ours / 255 - mean) / std).transpose(2, 0, 1)
        assert cosine(ours_pixels, pixels[0].numpy()) > 0.999
        assert cosine(tiny.encode_images(ours[None])[0], expected) > 0.999
        rough = np.asarray(Image.fromarray(stored.rgb).resize((53, 32), Image.Resampling.NEAREST))
        rough_pixels = ((tiny.prepare(rough) / 255 - mean) / std).transpose(2, 0, 1)
        assert cosine(rough_pixels, pixels[0].numpy()) < 0.99  # what the test would catch


def test_other_resize_modes_go_through_pil(tmp_path: Path, picture: Path) -> None:
    clip = load_clip(str(folder_of(tmp_path / "squash", preprocess_cfg={"resize_mode": "squash"})))
    assert clip.preprocessing.decoder_shortest is None
    stored = next(iter(frames_at(picture, [0]))).rgb
    expected = np.asarray(Image.fromarray(stored).resize((32, 32), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(clip.prepare(stored).astype(int), expected.astype(int), atol=1)


def cosine(a: np.ndarray, b: np.ndarray) -> float:  # type: ignore[type-arg]
    a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.fixtures
def test_tokens_are_clips(real: Path, tiny: ClipModel) -> None:
    vectors = json.loads((real / "vectors" / "clip_tokenizer_vectors.json").read_text())
    assert len(vectors) == 25
    for vector in vectors:
        row = tiny._tower._tokenizer([vector["text"]], context_length=400)[0].tolist()  # one vector is over 77 long
        assert row[: row.index(49407) + 1] == vector["ids"], vector["name"]
