"""Train the small CLIP of the sample world and write it as an open_clip folder.

    OMP_NUM_THREADS=1 python -m videochat.sample.train_clip --out videochat/sample/clip

It learns from simulated frames alone (drawn, H.264-coded, decoded, resized as open_clip does) with captions and
simulated chat. The loss is CLIP's, with soft targets: a text is true of every frame of the batch that shows what it
names, noise is true of all alike. Architecture and recipe: FACTS §9. The folder loads with open_clip's `local-dir:`.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F

from . import captions
from .captions import EMPTY, Caption
from .render import compose, encode, to_yuv
from .scenes import background
from .world import ACTIONS, CATEGORIES, COLOURS, OBJECTS, Event, WorldSpec, generator

TRAIN_SEED = -1  # seeds of workspaces are never negative
IMAGE_SIZE = 64
CONTEXT_LENGTH = 20
MODEL_CONFIG: dict[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": IMAGE_SIZE, "layers": [1, 1, 1, 1], "width": 16, "patch_size": None},
    "text_cfg": {
        "context_length": CONTEXT_LENGTH,
        "vocab_size": 0,
        "hf_tokenizer_name": "videochat-sample-clip",
        "tokenizer_kwargs": {"clean": "whitespace"},
        "width": 64,
        "heads": 4,
        "layers": 2,
    },
}
MEAN = (0.48145466, 0.4578275, 0.40821073)  # open_clip's defaults
STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """num_scenes x num_events frames; steps of `batch_size` frames with one text each."""

    num_scenes: int = 132
    num_events: int = 180
    steps: int = 1_800
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    seed: int = 0


@dataclass(frozen=True)
class Frames:
    """pixels uint8 (N, 64, 64, 3); what each frame shows: object (or EMPTY) and colour ("" if empty)."""

    pixels: NDArray[np.uint8]
    objects: list[str]
    colours: list[str]


def flash_events(spec: WorldSpec, seed: int, scene: int, count: int) -> list[Event]:
    """Events of two frames each, back to back; each object and colour equally often over the scenes."""
    rng = generator(spec.version, seed, scene, "clip-frames")
    length = 2 * spec.frame_ms
    events = []
    for number in range(count):
        size = rng.choice((64, 72, 80))
        reach = (spec.height - size) // 2 - 14
        events.append(
            Event(
                start_ms=number * length,
                end_ms=(number + 1) * length,
                window=0,
                object=EMPTY if rng.random() < 0.08 else rng.choice(OBJECTS),
                colour=rng.choice(COLOURS),
                action=rng.choice(ACTIONS),
                size=size,
                x=spec.width // 2 + rng.randint(-reach, reach),
                y=spec.height // 2 + rng.randint(-reach, reach),
            )
        )
    return events


def scene_frames(spec: WorldSpec, seed: int, scene: int, count: int) -> Iterator[tuple[NDArray[np.uint8], str, str]]:
    """Draw, encode, decode and resize one scene's frames: (pixels uint8 (64, 64, 3), object, colour)."""
    import av

    rng = generator(spec.version, seed, scene, "clip-coding")
    coded = WorldSpec(crf=rng.randint(23, 35))
    empty = to_yuv(background(spec, seed, scene, CATEGORIES[scene % len(CATEGORIES)]))
    events = flash_events(spec, seed, scene, count)
    offset = rng.randrange(0, 4_000)  # a moment of each movement
    pictures = (
        empty if event.object == EMPTY else compose(empty, event, event.start_ms + offset + k * spec.frame_ms)
        for event in events
        for k in range(2)
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.mp4"
        encode(coded, pictures, path)
        with av.open(str(path)) as container:
            for number, frame in enumerate(container.decode(video=0)):
                if number % 2 == rng.randrange(2):
                    continue
                event = events[number // 2]
                resample = rng.choice((Image.Resampling.BICUBIC, Image.Resampling.BICUBIC, Image.Resampling.BILINEAR))
                shown = event.colour if event.object != EMPTY else ""
                rgb = frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
                yield shrink(rgb, resample), event.object, shown


def shrink(rgb: NDArray[np.uint8], resample: Image.Resampling = Image.Resampling.BICUBIC) -> NDArray[np.uint8]:
    """Shortest side to 64 pixels, antialiased, then the central square, as open_clip's evaluation transform does."""
    height, width = rgb.shape[:2]
    scale = IMAGE_SIZE / min(height, width)
    image = Image.fromarray(rgb).resize((int(width * scale), int(height * scale)), resample)
    left, top = (image.width - IMAGE_SIZE) // 2, (image.height - IMAGE_SIZE) // 2
    return np.asarray(image.crop((left, top, left + IMAGE_SIZE, top + IMAGE_SIZE)))


def make_frames(spec: WorldSpec, seed: int, scenes: range, count: int) -> Frames:
    rows = [row for scene in scenes for row in scene_frames(spec, seed, scene, count)]
    return Frames(np.stack([row[0] for row in rows]), [row[1] for row in rows], [row[2] for row in rows])


def write_tokenizer(folder: Path) -> int:
    """tokenizer.json of whole lower-case words; pad 0, end of text the highest id. Returns the vocabulary's size."""
    from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, processors
    from tokenizers.models import WordLevel

    words = ["[PAD]", "[UNK]", *captions.vocabulary(), "[END]"]
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r"[^\w]+"), behavior="removed"), pre_tokenizers.WhitespaceSplit()]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A [END]", special_tokens=[("[END]", len(words) - 1)]
    )
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[END]"])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "eos_token": "[END]",
        "model_max_length": CONTEXT_LENGTH,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    return len(words)


def normalise(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """uint8 (N, 64, 64, 3) -> float32 (N, 3, 64, 64) in open_clip's scale."""
    values = torch.from_numpy(np.ascontiguousarray(pixels)).float().div_(255)
    values = (values - torch.tensor(MEAN)) / torch.tensor(STD)
    return values.permute(0, 3, 1, 2)


def soft_targets(texts: list[Caption], objects: list[str], colours: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Target distributions (T, I): of frames for each text, and of texts for each frame (rows of zeros: none fits)."""
    shown_objects, shown_colours = np.array(objects), np.array(colours)
    true = torch.zeros(len(texts), len(objects))
    for row, text in enumerate(texts):
        if not text.noise:
            fits = np.ones(len(objects), dtype=bool) if text.object is None else shown_objects == text.object
            true[row] = torch.from_numpy(fits if text.colour is None else fits & (shown_colours == text.colour))
    noise = torch.tensor([text.noise for text in texts])
    frames_for_text = true.clone()
    frames_for_text[noise] = 1.0
    texts_for_frame = true.T / true.T.sum(dim=1, keepdim=True).clamp(min=1)
    return frames_for_text / frames_for_text.sum(dim=1, keepdim=True).clamp(min=1), texts_for_frame


def train(out: Path, config: TrainConfig) -> dict[str, float]:
    """Train and write the folder; returns what was measured on scenes and templates not trained on."""
    import open_clip
    from safetensors.torch import save_file

    began = time.monotonic()
    spec = WorldSpec()
    torch.manual_seed(config.seed)
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    model_config = json.loads(json.dumps(MODEL_CONFIG))
    model_config["text_cfg"]["vocab_size"] = write_tokenizer(out)
    folder_config = {"model_cfg": model_config, "preprocess_cfg": {"mean": list(MEAN), "std": list(STD)}}
    (out / "open_clip_config.json").write_text(json.dumps(folder_config, indent=2) + "\n")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{out}")
    model = open_clip.CLIP(**model_config).to(memory_format=torch.channels_last)

    data = make_frames(spec, TRAIN_SEED, range(config.num_scenes), config.num_events)
    print(f"{len(data.objects)} frames in {time.monotonic() - began:.0f} s", flush=True)
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.steps, pct_start=0.08
    )
    rng = random.Random(config.seed)
    model.train()
    for step in range(config.steps):
        rows = rng.sample(range(len(data.objects)), config.batch_size)
        objects, colours = [data.objects[r] for r in rows], [data.colours[r] for r in rows]
        texts = [captions.draw(rng, name, colour) for name, colour in zip(objects, colours, strict=True)]
        frames_for_text, texts_for_frame = soft_targets(texts, objects, colours)
        with torch.autocast("cpu", torch.bfloat16):
            image = model.encode_image(normalise(data.pixels[rows]))
        text = model.encode_text(tokenizer([item.text for item in texts]), normalize=True)
        logits = model.logit_scale.exp() * text @ F.normalize(image.float(), dim=-1).T
        loss = F.cross_entropy(logits, frames_for_text) + F.cross_entropy(logits.T, texts_for_frame)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, np.log(30.0))
        if step % 250 == 0 or step == config.steps - 1:
            scale, seconds = model.logit_scale.exp().item(), time.monotonic() - began
            print(f"step {step} loss {loss.item():.3f} scale {scale:.1f} {seconds:.0f} s", flush=True)
    model.eval()
    state = {name: (t.half() if t.is_floating_point() else t).contiguous() for name, t in model.state_dict().items()}
    save_file(state, out / "open_clip_model.safetensors", metadata={"format": "pt"})
    figures = measure(out)
    figures["train_seconds"] = round(time.monotonic() - began)
    print(json.dumps(figures))
    return figures


def measure(folder: Path, *, num_trials: int = 20, seed: int = TRAIN_SEED - 1) -> dict[str, float]:
    """Zero-shot figures on fresh scenes: top-1 of 64 distinct (colour, object) captions, seen and unseen templates;
    top-1 of 24 object names; top-1 of 10 colours."""
    import open_clip

    model = open_clip.create_model(f"local-dir:{folder}", require_pretrained=True).eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    data = make_frames(WorldSpec(), seed, range(22), 60)
    shown = [row for row, name in enumerate(data.objects) if name != EMPTY]
    with torch.no_grad():
        images = model.encode_image(normalise(data.pixels[shown]), normalize=True)

        def encode_texts(texts: list[str]) -> torch.Tensor:
            return model.encode_text(tokenizer(texts), normalize=True)  # type: ignore[no-any-return]

        names, colours = [data.objects[r] for r in shown], [data.colours[r] for r in shown]
        figures = {
            "objects_top1_of_24": _top1(images, encode_texts([f"look at that {o}" for o in OBJECTS]), names, OBJECTS),
            "colours_top1_of_10": _top1(images, encode_texts([f"it was {c}" for c in COLOURS]), colours, COLOURS),
        }
        for label, templates in (("seen", captions.BOTH), ("unseen", captions.UNSEEN)):
            rng = random.Random(seed)
            hits = trials = 0
            for _ in range(num_trials):
                rows = _distinct(rng, list(zip(names, colours, strict=True)), 64)
                template = rng.choice(templates)
                texts = encode_texts([template.format(c=colours[r], o=names[r], a="jumping") for r in rows])
                hits += int((images[rows] @ texts.T).argmax(dim=1).eq(torch.arange(64)).sum())
                trials += 64
            figures[f"{label}_templates_top1_of_64"] = hits / trials
    return {name: round(value, 4) for name, value in figures.items()}


def _top1(images: torch.Tensor, texts: torch.Tensor, truth: list[str], choices: tuple[str, ...]) -> float:
    found = (images @ texts.T).argmax(dim=1).tolist()
    return float(np.mean([choices[index] == name for index, name in zip(found, truth, strict=True)]))


def _distinct(rng: random.Random, pairs: list[tuple[str, str]], count: int) -> list[int]:
    """`count` rows with pairwise distinct values, in random order."""
    seen: set[tuple[str, str]] = set()
    rows: list[int] = []
    for row in rng.sample(range(len(pairs)), len(pairs)):
        if pairs[row] not in seen and len(rows) < count:
            seen.add(pairs[row])
            rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--steps", type=int, default=TrainConfig.steps)
    parser.add_argument("--num-scenes", type=int, default=TrainConfig.num_scenes)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    train(arguments.out, TrainConfig(steps=arguments.steps, num_scenes=arguments.num_scenes, seed=arguments.seed))


if __name__ == "__main__":
    main()
