"""One training loop for every model and stage: AdamW, warm-up and decay, clipping, selection on dev, resume.

    run_stage(model, stage="answers", num_items=len(examples), make_batch=..., evaluate=..., settings=..., seed=0,
              state_path=checkpoint / "training" / "answers.safetensors")

A model called on a batch gives `SummedLoss(loss, num_tokens)`; the loop divides by the tokens of all processes, so
that one device and several give the same step (FACTS §10). Every random draw is a function of (seed, stage, step),
never of what ran before: a run that was killed and resumed follows the same curve, and on one machine with one
thread count gives the same bytes. State is kept in safetensors, never in a pickle.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from videochat.errors import UsageError, VideochatError
from videochat.files import atomic_path, digest_json, exclusive, stable_hash
from videochat.progress import progress, say

from . import run_log
from .heap import keep_freed_memory

Batch = dict[str, Tensor]
MakeBatch = Callable[[np.ndarray, np.random.Generator], Batch]
PRECISIONS = ("auto", "float32", "bf16")
STATE_KEY = "state"  # the one metadata key: several would be written in an order of their own (FACTS §10)


@dataclass(frozen=True, kw_only=True)
class StageSettings:
    """How one stage trains. epochs: passes over the items; patience: stop after so many evaluations without a
    better dev loss (0: never); max_minutes: stop then, whatever was reached (0: no limit; the only setting that makes
    the result depend on the machine); save_minutes: besides the end of each epoch, save the state so often. precision:
    of the products, "float32", "bf16" or "auto", which is bf16 on a GPU that has it and float32 elsewhere; weights,
    optimiser, state and checkpoint are float32 in all."""

    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup_fraction: float = 0.1
    clip_norm: float = 1.0
    patience: int = 0
    max_minutes: float = 0.0
    save_minutes: float = 5.0
    precision: str = "auto"

    def __post_init__(self) -> None:
        for name, fits, wanted in (
            ("epochs", self.epochs >= 0, "0 or more"),
            ("batch_size", self.batch_size >= 1, "1 or more"),
            ("learning_rate", 0 < self.learning_rate < math.inf, "more than 0"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "0 or more"),
            ("warmup_fraction", 0 <= self.warmup_fraction <= 1, "between 0 and 1"),
            ("patience", self.patience >= 0, "0 or more"),
            ("max_minutes", 0 <= self.max_minutes < math.inf, "0 or more"),
        ):
            if not fits:
                raise UsageError(
                    f"impossible training setting: {name} is {getattr(self, name)}", fix=f"make it {wanted}"
                )
        if self.precision not in PRECISIONS:
            raise UsageError(f"precision is {self.precision!r}", fix=f"choose one of {', '.join(PRECISIONS)}")

    def told(self) -> dict[str, Any]:
        """The settings for digests and files. One that came later stands there only where it is not the default, so
        that what was trained before it existed is still known as current."""
        return {name: value for name, value in vars(self).items() if (name, value) != ("precision", "auto")}

    def uses_bf16(self, device: str) -> bool:
        """Raises UsageError where bf16 is asked for and the device has none."""
        has = device == "cpu" or torch.cuda.is_bf16_supported()
        if self.precision == "bf16" and not has:
            raise UsageError(f"precision is bf16, which {device} does not have", fix="take float32 or auto")
        return self.precision == "bf16" or (self.precision == "auto" and device != "cpu" and has)


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """log: one row an epoch {"stage", "epoch", "step", "train_loss", "dev_loss", "learning_rate"}, losses a token, and
    "dev_mrr" or "dev_r1" where the best epoch is chosen by it.
    best_epoch: the epoch whose weights the model now holds (the last one where nothing was evaluated)."""

    log: list[dict[str, Any]]
    best_epoch: int
    stopped: str  # "finished" | "patience" | "max_minutes"


def learning_rate_at(step: int, num_steps: int, settings: StageSettings) -> float:
    """Linear warm-up, then a cosine to zero. step: 0-based."""
    warmup = max(1, round(num_steps * settings.warmup_fraction))
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, num_steps - warmup)))


def is_main_process() -> bool:
    """True in the process that writes files; the others wait here until all have come so far."""
    from accelerate import PartialState

    state = PartialState()
    state.wait_for_everyone()
    return bool(state.is_main_process)


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Two trainings side by side that share what is made in `folder`: the second waits for the first one's result."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:  # the processes of one training, which meet at every step
        yield
    else:
        with exclusive(folder):
            yield


@contextmanager
def deterministic() -> Iterator[None]:
    """Deterministic kernels inside the block, where torch has them; the setting before is restored."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def run_stage(
    model: nn.Module,
    *,
    stage: str,
    num_items: int,
    make_batch: MakeBatch,
    evaluate: Callable[[nn.Module], float] | None,
    settings: StageSettings,
    seed: int,
    state_path: Path | None = None,
    device: str = "cpu",
    origin: str = "",
    rank: Callable[[nn.Module], float] | None = None,
    measure: str = "mrr",
) -> StageResult:
    """Train `model` in place on items 0 .. num_items - 1; it ends with the weights of the best epoch on dev.

    make_batch(indices, random): a batch of these items; `random` is seeded by (seed, stage, step).
    evaluate: the dev loss a token, in eval mode without gradients; None: keep the last epoch.
    state_path: the state of an unfinished run is saved there and taken up again if it fits; the caller removes it.
    origin: digest of the data and of all that the other arguments do not tell; a state of another one does not fit.
    rank: a figure of dev to choose the best epoch by instead of the loss, higher is better; measure: its
    name in the log.
    """
    with deterministic():
        return _Stage(
            model, stage, num_items, make_batch, evaluate, settings, seed, state_path, device, origin, rank, measure
        ).run()


class _Stage:
    def __init__(
        self,
        model: nn.Module,
        stage: str,
        num_items: int,
        make_batch: MakeBatch,
        evaluate: Callable[[nn.Module], float] | None,
        settings: StageSettings,
        seed: int,
        state_path: Path | None,
        device: str,
        origin: str,
        rank: Callable[[nn.Module], float] | None,
        measure: str,
    ) -> None:
        from accelerate import Accelerator, DistributedDataParallelKwargs
        from accelerate.state import AcceleratorState

        precision = "bf16" if settings.uses_bf16(device) else "no"
        if AcceleratorState._shared_state.get("_mixed_precision", precision) != precision:
            AcceleratorState._reset_state()  # it keeps one precision a process, and two trainings may have two
        # queries to a memory of one vector cannot matter and get no gradient
        parallel = DistributedDataParallelKwargs(find_unused_parameters=True)
        if device == "cpu":
            keep_freed_memory()
        self.accelerator = Accelerator(cpu=device == "cpu", mixed_precision=precision, kwargs_handlers=[parallel])
        self.plain = model.to(self.accelerator.device)
        self.stage, self.seed, self.settings, self.state_path = stage, seed, settings, state_path
        self.num_items, self.make_batch, self.evaluate = num_items, make_batch, evaluate
        self.rank, self.measure = rank, measure
        self.steps_per_epoch = math.ceil(num_items / settings.batch_size)
        self.num_steps = self.steps_per_epoch * settings.epochs
        groups = [
            {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": settings.weight_decay},
            {"params": [p for p in model.parameters() if p.dim() <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98))
        self.model = self.accelerator.prepare_model(model)
        self.step, self.log, self.best_epoch, self.best_loss, self.bad = 0, [], -1, math.inf, 0  # type: ignore[var-annotated]
        self.best: dict[str, Tensor] | None = None
        self.sums = [0.0, 0.0]  # loss and tokens of this epoch so far
        self.identity = digest_json(
            {
                "stage": stage,
                "origin": origin,
                "seed": seed,
                "num_items": num_items,
                "settings": {k: v for k, v in settings.told().items() if k not in ("max_minutes", "save_minutes")},
                "shapes": {name: list(p.shape) for name, p in model.named_parameters()},
            }
        )

    def run(self) -> StageResult:
        self._resume()
        started = saved = time.monotonic()
        stopped = "patience" if self._out_of_patience() else "finished"
        self.model.train()
        with progress(what=f"train {self.stage}", total=self.num_steps, unit="step") as bar:
            bar.update(self.step)
            while self.step < self.num_steps and stopped == "finished":
                loss = self._train_step()
                bar.update(1)
                bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
                run_log.write(self.stage, self.step, {"loss": loss})
                now = time.monotonic()
                if self.step % self.steps_per_epoch == 0:
                    self._end_epoch()
                    stopped = "patience" if self._out_of_patience() else stopped
                if 0 < self.settings.max_minutes * 60 < now - started:
                    stopped = "max_minutes"
                due = self.step % self.steps_per_epoch == 0 or now - saved > self.settings.save_minutes * 60
                if due and self.state_path is not None:
                    self._save()
                    saved = now
        for name in ("forward", "_original_forward"):  # Accelerate's wrapper of bf16 would stay on the model
            vars(self.plain).pop(name, None)
        if self.best is not None:
            self.plain.load_state_dict(self.best)
        self.plain.eval()
        epoch = self.best_epoch if self.best is not None else self.step // max(1, self.steps_per_epoch) - 1
        return StageResult(log=self.log, best_epoch=epoch, stopped=stopped)

    def _train_step(self) -> float:
        """One optimiser step on one batch, shared out among the processes."""
        epoch, place = divmod(self.step, self.steps_per_epoch)
        order = np.random.default_rng(stable_hash(self.seed, self.stage, "order", epoch)).permutation(self.num_items)
        indices = order[place * self.settings.batch_size : (place + 1) * self.settings.batch_size]
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        mine = indices[rank::world] if len(indices) >= world else indices
        draw = stable_hash(self.seed, self.stage, "step", self.step, rank)
        torch.manual_seed(draw % 2**63)
        rate = learning_rate_at(self.step, self.num_steps, self.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batch = self._to_device(self.make_batch(mine, np.random.default_rng(draw)))
        with self.accelerator.autocast():
            loss, num_tokens = self.model(**batch)
        total = self.accelerator.reduce(num_tokens.detach().clone().float(), "sum")
        self.accelerator.backward(loss * (world / total.clamp(min=1)))  # processes average their gradients
        nn.utils.clip_grad_norm_(self.plain.parameters(), self.settings.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        summed = float(self.accelerator.reduce(loss.detach().double(), "sum"))
        if not math.isfinite(summed):
            raise VideochatError(
                f"the loss of stage {self.stage} became {summed} at step {self.step}", fix="lower learning_rate"
            )
        self.sums[0] += summed
        self.sums[1] += float(total)
        self.step += 1
        return summed / max(1.0, float(total))

    def _to_device(self, batch: Batch) -> Batch:
        return {name: value.to(self.accelerator.device) for name, value in batch.items()}

    def _end_epoch(self) -> None:
        epoch = self.step // self.steps_per_epoch - 1
        dev_loss = ranking = None
        if self.evaluate is not None:
            self.plain.eval()
            with torch.no_grad():
                dev_loss = self.evaluate(self.plain)
                ranking = None if self.rank is None else self.rank(self.plain)
            self.plain.train()
            judged = dev_loss if ranking is None else -ranking
            if judged < self.best_loss:
                self.best_loss, self.best_epoch, self.bad = judged, epoch, 0
                self.best = {name: value.detach().clone() for name, value in self.plain.state_dict().items()}
            else:
                self.bad += 1
        self.log.append(
            {
                "stage": self.stage,
                "epoch": epoch,
                "step": self.step,
                "train_loss": round(self.sums[0] / max(1.0, self.sums[1]), 6),
                "dev_loss": None if dev_loss is None else round(dev_loss, 6),
                "learning_rate": learning_rate_at(self.step - 1, self.num_steps, self.settings),
                **({} if ranking is None else {f"dev_{self.measure}": round(ranking, 6)}),
            }
        )
        figures = {name: value for name, value in self.log[-1].items() if name not in ("stage", "epoch", "step")}
        run_log.write(self.stage, self.step, figures)
        self.sums = [0.0, 0.0]

    def _out_of_patience(self) -> bool:
        return 0 < self.settings.patience <= self.bad

    # -- state

    def _save(self) -> None:
        from safetensors.torch import save_file

        if not self.accelerator.is_main_process or self.state_path is None:
            return
        tensors = {f"model.{name}": value for name, value in self.plain.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in (self.best or {}).items()}
        for name, parameter in self.plain.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{key}.{name}"] = value
        tensors = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
        state = {name: getattr(self, name) for name in ("identity", "step", "log", "best_epoch", "bad", "sums")}
        state["best_loss"] = None if math.isinf(self.best_loss) else self.best_loss
        with atomic_path(self.state_path) as temporary:
            save_file(tensors, temporary, metadata={STATE_KEY: json.dumps(state, sort_keys=True)})

    def _resume(self) -> None:
        """Take up a saved state if it belongs to the same run: stage, seed, items, settings and shapes."""
        from safetensors import SafetensorError, safe_open

        if self.state_path is None or not self.state_path.is_file():
            return
        try:
            with safe_open(self.state_path, framework="pt", device=str(self.accelerator.device)) as file:
                state = json.loads((file.metadata() or {})[STATE_KEY])
                if state["identity"] != self.identity:
                    return
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, KeyError, TypeError, ValueError):
            say(f"{self.state_path} is damaged: stage {self.stage} starts from its beginning")
            return
        self.plain.load_state_dict(_under("model.", tensors))
        self.best = _under("best.", tensors) or None
        for name, parameter in self.plain.named_parameters():
            for key in ("step", "exp_avg", "exp_avg_sq"):
                if (value := tensors.get(f"optimizer.{key}.{name}")) is not None:
                    self.optimizer.state[parameter][key] = value.cpu() if key == "step" else value
        for name in ("step", "log", "best_epoch", "bad", "sums"):
            setattr(self, name, state[name])
        self.best_loss = math.inf if state["best_loss"] is None else state["best_loss"]


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
