"""A CLIP model that says exactly what it is: open_clip weights, preprocessing and tokenizer under one fingerprint.

    clip = load_clip("sample")                           # the small CLIP of the sample world, in the package
    clip = load_clip("ViT-B-32:laion2b_s34b_b79k")       # open_clip NAME:PRETRAINED (needs the model hub)
    clip = load_clip("path/to/folder")                   # open_clip_config.json + safetensors
    clip = load_clip("untrained:ViT-B-32")               # random weights, on purpose and by name
    clip.encode_images(images_NHWC)                      # float16 (N, dim), L2-normalised

open_clip goes on with random weights when a folder has none; here that is an error, and the fingerprint digests the
tensors that are in the model. Embeddings are float32 arithmetic on CPU, bfloat16 on CUDA, stored as float16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .. import __version__
from .text_tower import TextTower
from .weights import Loaded, load, resolve_device, tensors_digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

IMAGE_BATCH = 32  # FACTS §7: the encoder's throughput is flat from 8 to 32; fixed, so that bytes never depend on layout
FEATURES_VERSION = 1  # of the arithmetic here; part of every fingerprint


@dataclass(frozen=True, kw_only=True, slots=True)
class Preprocessing:
    """What happens to a picture before the network: resize, centre crop to (size, size), scale, normalise."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    resize_mode: str

    @property
    def decoder_shortest(self) -> int | None:
        """The shortest side to which a decoder may scale at once (bicubic, antialiased); None: leave it to PIL."""
        return self.size if (self.interpolation, self.resize_mode) == ("bicubic", "shortest") else None


class ClipModel:
    """One CLIP on one device. Not thread-safe to construct, safe to call from several threads."""

    def __init__(self, loaded: Loaded, device: str) -> None:
        self.spec = loaded.spec
        self.trained = loaded.trained
        self.device = device
        self.precision = "bfloat16" if device.startswith("cuda") else "float32"
        self.preprocessing = Preprocessing(
            size=_square(loaded.preprocess["size"]),
            mean=tuple(loaded.preprocess["mean"]),
            std=tuple(loaded.preprocess["std"]),
            interpolation=str(loaded.preprocess["interpolation"]),
            resize_mode=str(loaded.preprocess["resize_mode"]),
        )
        self._weights_digest = tensors_digest(loaded.model)
        self._model = loaded.model.eval().requires_grad_(False).to(device)
        self._tower = TextTower(self._model, loaded.tokenizer, device)
        shape = (1, 3, 1, 1)
        self._mean = torch.tensor(self.preprocessing.mean, device=device).view(shape) * 255
        self._std = torch.tensor(self.preprocessing.std, device=device).view(shape) * 255
        self.dim = int(self.encode_texts(["a"]).shape[1])

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """Everything that decides an embedding, except which frame: plain JSON."""
        import open_clip

        p = self.preprocessing
        return {
            "model": self.spec,
            "trained": self.trained,
            "weights": self._weights_digest,
            "dim": self.dim,
            "preprocessing": {
                "size": p.size,
                "mean": list(p.mean),
                "std": list(p.std),
                "interpolation": p.interpolation,
                "resize_mode": p.resize_mode,
                "resized_by": "libswscale" if p.decoder_shortest else "pil",
            },
            "tokenizer": self._tower.tokenizer_digest,
            "context_length": self._tower.context_length,
            "precision": self.precision,
            "version": FEATURES_VERSION,
            "tool": f"videochat {__version__}",
            "open_clip": str(open_clip.__version__),
        }

    def prepare(self, rgb_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """One decoded frame -> uint8 (size, size, 3): a centre crop, with PIL's resize first where it is needed."""
        size = self.preprocessing.size
        if self.preprocessing.decoder_shortest is None or min(rgb_HWC.shape[:2]) != size:
            rgb_HWC = np.asarray(self._pil_geometry(rgb_HWC))
        height, width = rgb_HWC.shape[:2]
        top, left = round((height - size) / 2), round((width - size) / 2)  # as torchvision's CenterCrop rounds
        return np.ascontiguousarray(rgb_HWC[top : top + size, left : left + size])

    def _pil_geometry(self, rgb_HWC: NDArray[np.uint8]) -> Any:
        """open_clip's own geometric steps: everything before the conversion to a tensor."""
        from open_clip.transform import PreprocessCfg, image_transform_v2
        from PIL import Image
        from torchvision.transforms import ToTensor

        p = self.preprocessing
        config = PreprocessCfg(size=p.size, interpolation=p.interpolation, resize_mode=p.resize_mode)
        image: Any = Image.fromarray(rgb_HWC)
        for step in image_transform_v2(config, is_train=False).transforms:
            if isinstance(step, ToTensor):
                break
            image = step(image)
        return image

    @torch.inference_mode()
    def encode_images(self, images_NHWC: NDArray[np.uint8]) -> NDArray[np.float16]:
        """uint8 (N, size, size, 3) from `prepare` -> float16 (N, dim), L2-normalised.

        Goes in batches of IMAGE_BATCH from the first image on, so an image's bytes depend on its recording alone.
        """
        rows = [np.empty((0, self.dim), np.float16)] if not len(images_NHWC) else []
        for begin in range(0, len(images_NHWC), IMAGE_BATCH):
            batch = torch.from_numpy(np.ascontiguousarray(images_NHWC[begin : begin + IMAGE_BATCH])).to(self.device)
            pixels_NCHW = (batch.permute(0, 3, 1, 2).float() - self._mean) / self._std  # NHWC memory: channels_last
            with self._autocast():
                features = self._model.encode_image(pixels_NCHW)
            rows.append(to_unit_float16(features))
        return np.concatenate(rows)

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float16]:
        """Texts -> float16 (n, dim), L2-normalised, in the order given; equal texts are embedded once."""
        with self._autocast():
            return self._tower.encode(texts, to_unit_float16)

    def _autocast(self) -> Any:
        return torch.autocast(self.device.partition(":")[0], torch.bfloat16, enabled=self.precision == "bfloat16")


def to_unit_float16(features: torch.Tensor) -> NDArray[np.float16]:
    """L2-normalise in float32, then round to float16 on the host."""
    unit = torch.nn.functional.normalize(features.float(), dim=-1).half().cpu().numpy()
    return np.asarray(unit, np.float16)


def _square(size: Any) -> int:
    sizes = tuple(size) if isinstance(size, list | tuple) else (size,)
    if len(set(sizes)) != 1:
        raise ValueError(f"only square CLIP inputs are supported, not {sizes}")
    return int(sizes[0])


def load_clip(spec: str, device: str = "cpu", allow_untrained: bool = False) -> ClipModel:
    """Load a CLIP by spec: "sample", NAME:PRETRAINED, a local folder, or untrained:NAME.

    device: "cpu", "cuda", "cuda:N" or "auto". allow_untrained: a folder without weights is initialised at random.
    Raises UsageError for an unknown name or an absent device, MissingInput for absent weights, VideochatError if the
    model hub cannot be reached.
    """
    device = resolve_device(device)
    return ClipModel(load(spec, allow_untrained=allow_untrained), device)
