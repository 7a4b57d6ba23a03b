"""The model card of a trained model, written from the run that made it."""

from __future__ import annotations

from typing import Any


def model_card(info: dict[str, Any], config: Any, *, class_name: str, about: str) -> str:
    """README.md of a checkpoint. Figures come from `info` (training.json), none is typed in.

    about: the paragraph that says what the model is. class_name: what to call `from_pretrained` on.
    """
    simulated = info["simulated"]
    origin = (
        "**Trained on simulated data** made by `videochat sample`: it shows that the mechanism works, and says nothing "
        "about how well it does on Twitch or any other real chat."
        if simulated
        else "Trained on the chat of a local workspace; the rights and duties of those data apply to it."
    )
    loss = "none (no dev split)" if info["dev_loss"] is None else f"{info['dev_loss']:.4f} nats a token"
    for key, name in (("dev_mrr", "MRR"), ("dev_r1", "R@1")):
        loss += f"; chosen by dev {name}: {info[key]:.4f}" if key in info else ""
    versions = ", ".join(f"{name} {value}" for name, value in info["versions"].items())
    tags = "".join(f"  - {tag}\n" for tag in ["live-comments", *(["simulated"] if simulated else [])])
    return f"""---
library_name: transformers
license: {"apache-2.0" if simulated else "other"}
tags:
{tags}---

# {info["model"]}

{about}

{origin}

| | |
|---|---|
| data | digest `{info["data_digest"][:12]}`, split by {info["split_by"]} |
| clips | {info["num_train_clips"]} to train, {info["num_dev_clips"]} to choose by |
| CLIP | {_flat(info["clip_fingerprint"])} |
| seed | {info["seed"]} |
| chosen | epoch {info["best_epoch"]} of {info["settings"]["epochs"]}, by dev loss: {loss} |
| versions | {versions} |

Use: `videochat bench --model {info["model"]}`, or in Python `{class_name}.from_pretrained(folder)`. It needs
{", ".join(info["needs"]) or "text only"} of each clip; features must come from the CLIP named above.

Limits: it repeats what its training chat said, insults included; it knows no time to be silent; comments are cut to
{config.max_comment_tokens} tokens and only the latest {config.max_context_comments} are read.
"""


def _flat(value: dict[str, Any] | None) -> str:
    return "none (text only)" if not value else ", ".join(f"{k} {str(v)[:16]}" for k, v in sorted(value.items()))
