"""A speech-recognition model of transformers that says exactly what it is: name, weights, precision, windows.

    model = load_recogniser("openai/whisper-medium", device="cpu")    # or a local folder, or untrained:FOLDER
    model.segments(windows, language="en")                            # (start_ms, end_ms, text) for each window

Any model of the task `automatic-speech-recognition`: Whisper with its own timestamps, CTC models (wav2vec 2.0, HuBERT)
with those of words, joined where they stand close; other sequence-to-sequence models give one segment a window.
Safetensors only, no code of theirs is run.
"""

from __future__ import annotations

import itertools
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MissingInput, UsageError, VideochatError
from .audio import RATE, Window
from .transcript_files import Said

UNTRAINED = "untrained"
_SPECIAL = re.compile(r"<\|[^|<>]*\|>")  # Whisper's own tokens, where one stands in the midst of words
CHOICES = (
    "pass --asr FOLDER with a speech-recognition model of transformers in safetensors, the name of one that this "
    "machine can fetch, or --from FOLDER with ready transcripts"
)
VERSION = 1  # of the arithmetic here; part of every fingerprint
SILENCE = 1e-3  # root mean square, -60 dB of full scale; below it nothing is asked: Whisper answers silence with words
PAUSE_MS = 600  # words of a CTC model that stand further apart begin a new segment
LONGEST_MS = 10_000  # nor does a segment of such words grow longer, so that it ends before many a clip's end


class Recogniser:
    """One model on one device, in float32 on the CPU, float16 on CUDA."""

    def __init__(self, spec: str, pipe: Any, device: str, *, trained: bool) -> None:
        self.spec = spec
        self.pipe = pipe
        self.device = device
        self.trained = trained
        self.kind = str(pipe.type)  # "seq2seq_whisper" | "ctc" | "ctc_with_lm" | "seq2seq"

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """Everything that decides a transcript, except the audio: plain JSON."""
        from ..frames.weights import tensors_digest

        return {
            "model": self.spec,
            "weights": tensors_digest(self.pipe.model),
            "trained": self.trained,
            "precision": str(self.pipe.model.dtype).removeprefix("torch."),
            "version": VERSION,
        }

    def languages(self) -> frozenset[str]:
        """The codes that it may be told; none for a model of one language."""
        known = (
            getattr(self.pipe.model.generation_config, "lang_to_id", None) if self.pipe.model.can_generate() else None
        )
        return frozenset(name.strip("<|>") for name in known or ())

    def segments(self, windows: Sequence[Window], *, language: str) -> list[list[Said]]:
        """For each window what is said in it: (start_ms, end_ms, text) on the recording's clock, in order of time.

        language: ISO 639-1, or "" to let the model tell. Segments lie inside their window.
        """
        found: list[list[Said]] = [[] for _ in windows]
        loud = [n for n, window in enumerate(windows) if _volume(window.samples) >= SILENCE]
        options: dict[str, Any] = {}
        if self.kind == "seq2seq_whisper":
            options["return_timestamps"] = True
            if self.languages():
                options["generate_kwargs"] = {"task": "transcribe", **({"language": language} if language else {})}
        elif self.kind != "seq2seq":
            options["return_timestamps"] = "word"
        for _, group in itertools.groupby(loud, key=lambda n: len(windows[n].samples)):  # padding would change a result
            numbers = list(group)
            batch_size = 1 if self.pipe.tokenizer.pad_token_id is None else len(numbers)  # transformers refuses others
            with _quiet():
                answers = self.pipe(
                    [{"raw": windows[n].samples, "sampling_rate": RATE} for n in numbers],
                    batch_size=batch_size,
                    **options,
                )
            for n, answer in zip(numbers, answers, strict=True):
                found[n] = self._read(answer, windows[n])
        return found

    def _read(self, answer: dict[str, Any], window: Window) -> list[Said]:
        length_ms = len(window.samples) * 1000 // RATE
        chunks = answer.get("chunks")
        if chunks is None:
            chunks = [{"text": answer["text"], "timestamp": (0.0, None)}]
        said = []
        for chunk in chunks:
            begin, end = chunk["timestamp"]
            begin_ms = 0 if begin is None else max(0, min(length_ms, round(begin * 1000)))
            end_ms = length_ms if end is None else max(0, min(length_ms, round(end * 1000)))
            if text := " ".join(_SPECIAL.sub(" ", chunk["text"]).split()):
                said.append((begin_ms, max(end_ms, min(begin_ms + 1, length_ms)), text))
        said.sort(key=lambda row: row[:2])
        if self.kind.startswith("ctc"):
            said = _joined(said)
        return [(window.start_ms + a, window.start_ms + b, text) for a, b, text in said if a < b]


def _joined(words: Sequence[Said]) -> list[Said]:
    """Words as segments: with those before, as long as the pause is short and the whole not too long."""
    out: list[Said] = []
    for begin, end, text in words:
        if out and begin - out[-1][1] < PAUSE_MS and end - out[-1][0] <= LONGEST_MS:
            out[-1] = (out[-1][0], max(end, out[-1][1]), f"{out[-1][2]} {text}")
        else:
            out.append((begin, end, text))
    return out


def _volume(samples: Any) -> float:
    """Root mean square of samples in [-1, 1]; 0 without any."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0


def load_recogniser(spec: str, *, device: str = "cpu") -> Recogniser:
    """spec: a name on the hub, a local folder, or untrained:FOLDER (random weights of that configuration, on purpose).

    Raises MissingInput if it cannot be had, UsageError if it is no speech-recognition model; both name the choices.
    """
    import torch
    from transformers import pipeline

    name = spec.removeprefix(f"{UNTRAINED}:")
    trained = name == spec
    folder = Path(name)
    if folder.is_dir():
        name = str(folder.resolve())
        spec = f"{'' if trained else UNTRAINED + ':'}{folder.resolve().name}"
        _require_safetensors(folder, trained=trained)
    elif not trained:
        raise UsageError(f"{name!r} is not a folder", fix=f"write {UNTRAINED}:FOLDER with a config.json in it")
    model, tokenizer, extractor = _parts(name, trained=trained)
    if extractor.sampling_rate != RATE:
        raise UsageError(f"{spec} listens to {extractor.sampling_rate} Hz, not to {RATE}", fix=CHOICES)
    half = device != "cpu"
    with _quiet():
        pipe = pipeline(
            "automatic-speech-recognition",
            model=model.to(torch.float16 if half else torch.float32).eval(),
            tokenizer=tokenizer,
            feature_extractor=extractor,
            device=device,
        )
    return Recogniser(spec, pipe, device, trained=trained)


def _require_safetensors(folder: Path, *, trained: bool) -> None:
    if not (folder / "config.json").is_file():
        raise MissingInput(f"{folder} has no config.json", fix=CHOICES)
    if trained and not any(folder.glob("*.safetensors")):
        pickles = [*folder.glob("*.bin"), *folder.glob("*.pt")]
        why = f"only {pickles[0].name}, a pickle" if pickles else "no weights"
        raise MissingInput(
            f"{folder} holds {why}: its model would be untrained",
            fix=f"add model.safetensors, or pass --asr {UNTRAINED}:{folder} to use random weights on purpose",
        )


def _parts(name: str, *, trained: bool) -> tuple[Any, Any, Any]:
    """(model, tokenizer, feature extractor) of a name or folder."""
    import torch
    import transformers

    from ..frames.weights import no_waiting_for_the_hub

    auto: Any = transformers  # its Auto classes have no types
    safe: dict[str, Any] = {"trust_remote_code": False}
    with _quiet(), no_waiting_for_the_hub() as reachable:
        try:
            config = auto.AutoConfig.from_pretrained(name, **safe)
            kinds = [
                k for k in (auto.AutoModelForSpeechSeq2Seq, auto.AutoModelForCTC) if type(config) in k._model_mapping
            ]
            if not kinds:
                raise UsageError(f"{name} ({config.model_type}) is no speech-recognition model", fix=CHOICES)
            tokenizer = auto.AutoTokenizer.from_pretrained(name, **safe)
            extractor = auto.AutoFeatureExtractor.from_pretrained(name, **safe)
            if not trained:
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(0)  # the same in every process
                    model = kinds[0].from_config(config, **safe)
                if (Path(name) / "generation_config.json").is_file():
                    model.generation_config = auto.GenerationConfig.from_pretrained(name)
                return model, tokenizer, extractor
            model, info = kinds[0].from_pretrained(name, use_safetensors=True, output_loading_info=True, **safe)
        except UsageError:
            raise
        except Exception as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            if not Path(name).is_dir() and not reachable:
                first = "the hub cannot be reached from here, and it is not in its cache"
            raise MissingInput(
                f"the speech-recognition model {name!r} cannot be loaded: {first}", fix=CHOICES
            ) from error
    if missing := sorted(info["missing_keys"]):
        raise VideochatError(
            f"{name} lacks {len(missing)} of its weights, {missing[0]} first: they would be random", fix=CHOICES
        )
    return model, tokenizer, extractor


@contextmanager
def _quiet() -> Iterator[None]:
    """transformers' advice, logs and progress bars are about its own interfaces: what matters becomes an error here."""
    from transformers.utils import logging as untyped

    hub_logging: Any = untyped

    previous, bars = logging.root.manager.disable, hub_logging.is_progress_bar_enabled()
    logging.disable(logging.ERROR)
    hub_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)
        if bars:
            hub_logging.enable_progress_bar()
