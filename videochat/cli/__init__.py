"""The command line: thin commands over the library, loaded when called.

Exit codes: 0 done, 1 failed, 2 usage, 3 finished but some recordings failed, 130 interrupted. Data goes to stdout,
progress and logs to stderr.
"""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
import traceback
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

import click

from .. import __version__
from ..errors import VideochatError

DEBUG = "VIDEOCHAT_DEBUG"  # set, an unexpected error shows its traceback
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_SPACE_SIGNS = ("No space left on device", "Disk quota exceeded", "File too large")  # from libraries without errno

# command -> (module, attribute, one line of help); modules are imported only when the command is used.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "sample": ("data", "sample", "Simulate recordings with chat (for demos and tests)."),
    "crawl": ("crawl", "crawl", "Fetch recordings with their chat."),
    "import": ("data", "import_", "Bring recordings and their chat into the workspace."),
    "import-dataset": ("import_dataset", "import_dataset", "Import a published data set of others."),
    "clean": ("data", "clean", "Clean the chat by declared rules."),
    "build-features": ("data", "build_features", "Embed frames and comments with CLIP."),
    "transcribe": ("transcribe", "transcribe", "Write down what is said in the recordings."),
    "build": ("data", "build", "Cut clips and write the shards with their card."),
    "candidates": ("bench", "candidates", "Build frozen candidate sets for a protocol."),
    "train": ("bench", "train", "Train a model on the train split."),
    "audit": ("audit", "audit", "Audit splits, candidates and features, or measure the lag."),
    "bench": ("bench", "bench", "Rank models and scorers on the candidate sets."),
    "zoo": ("zoo", "zoo", "Train and rank all models."),
    "export-candidates": ("outside", "export_candidates", "Write the frozen candidates for other people's code."),
    "read-samples": (
        "outside",
        "read_samples",
        "Make a scores file of what lmms-eval or lm-evaluation-harness logged.",
    ),
    "submit-check": ("outside", "submit_check", "Say all that would make a submission be refused."),
    "compare": ("runs", "compare", "Show how the models of two or more runs differ, paired by clip."),
    "export": ("runs", "export", "Write a run as LaTeX, Markdown, TREC, CSV or JSON."),
    "rescore": ("runs", "rescore", "Compute a run's figures again from its scores."),
    "leaderboard": ("runs", "leaderboard", "Write a static site with the tables of many runs."),
    "report": ("bench", "report", "Write the HTML report of a run."),
    "defects": ("defects", "defects", "Measure what each defect of the released evaluation is worth."),
    "experiment": ("experiment", "experiment", "Ask one of the paper's questions of the data."),
    "generate": ("generate", "generate", "Write comments for the clips of a split."),
    "bench-generation": ("bench_generation", "bench_generation", "Measure the comments that models write."),
    "convert-checkpoint": (
        "convert",
        "convert_checkpoint",
        "Convert weights with the parameter names of SFAT's released code.",
    ),
    "validate": ("inspect", "validate", "Check shards and candidate sets against their schema."),
    "doctor": ("crawl", "doctor", "Check ffmpeg, credentials, disk and, if asked, Twitch's endpoints."),
    "status": ("inspect", "status", "Show counts, hours and the ledger."),
    "rights": ("rights", "rights", "Show or set basis, jurisdiction, retention date and contact."),
    "forget": ("rights", "forget", "Remove a person, a channel or a recording from the workspace."),
    "purge": ("rights", "purge", "Remove all data when its retention date has passed."),
    "pseudonyms": ("rights", "pseudonyms", "Destroy the key of the pseudonyms, for good."),
    "export-ids": ("rights", "export_ids", "Write the data set as recording and message ids."),
    "rehydrate": ("rights", "rehydrate", "Fetch a data set again that was published as ids."),
    "demo": ("demo", "demo", "Run the whole chain on simulated data."),
}


class LazyGroup(click.Group):
    """A click group that knows its commands' names and one-line helps without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            if near and error.message.startswith("No such command"):
                hint = f"No such command {args[0]!r}. Did you mean {near[0]!r}?"
                raise click.UsageError(hint, ctx) from None
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands, in the order of the data"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with:  videochat demo     or:  videochat COMMAND --help\n\nExit codes: 0 done, 1 failed, 2 usage, "
    "3 finished but some recordings failed, 130 interrupted.",
)
@click.version_option(__version__, prog_name="videochat")
def cli() -> None:
    """Build datasets of live video with its chat, and benchmark the models that comment on it."""


def main(arguments: list[str] | None = None) -> None:
    """Entry point: runs the command line, turns known errors into one line each, and exits."""
    try:
        code = cli.main(args=arguments, prog_name="videochat", standalone_mode=False)
    except click.exceptions.Abort:
        code = _fail("interrupted", "run the same command again to continue", 130)
    except KeyboardInterrupt:
        code = _fail("interrupted", "run the same command again to continue", 130)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = error.exit_code
    except click.UsageError as error:
        code = _usage(error, sys.argv[1:] if arguments is None else arguments)
    except click.ClickException as error:
        code = _fail(error.format_message(), "", error.exit_code)
    except VideochatError as error:
        code = _fail(error.what, error.fix, error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        code = 1
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        code = _unexpected(error)
    if arguments is None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the work is done and told; torch takes a while to leave
    sys.exit(code if isinstance(code, int) else 0)


def _usage(error: click.UsageError, arguments: list[str]) -> int:
    named = next((f"videochat {word}" for word in arguments if word in COMMANDS), "videochat")
    command = error.ctx.command_path if error.ctx else named
    what = error.format_message().rstrip(".").replace("\n", " ")
    return _fail(what[:1].lower() + what[1:], f"see `{command} --help`", error.exit_code)


def _unexpected(error: Exception) -> int:
    """One line for what no command foresees: the disk and the memory say no, or there is a bug."""
    what = " ".join(str(error).split())[:300]
    if getattr(error, "errno", None) in NO_SPACE or any(sign in what for sign in NO_SPACE_SIGNS):
        return _fail(f"the disk is full or a quota is reached ({what})", "make room and run the same command again", 1)
    if isinstance(error, MemoryError) or "out of memory" in what.lower() or "can't allocate memory" in what:
        return _fail(f"the memory is full ({what or 'out of memory'})", "use fewer --workers, or a larger machine", 1)
    if isinstance(error, BrokenExecutor):
        what = "a worker process was ended from outside, most often for want of memory"
        return _fail(what, "run the same command again, with fewer --workers", 1)
    if isinstance(error, OSError):
        what = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else what
        return _fail(what, "check the path, its permissions and the disk, then run the same command again", 1)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name}, line {frame.lineno}"
    what = f"unexpected {type(error).__name__} in {place}: {what}"
    return _fail(what, f"this is a bug: run it again with {DEBUG}=1 and report what it prints", 1)


def _fail(what: str, fix: str, code: int) -> int:
    click.echo(f"error: {what}", err=True)
    if fix:
        click.echo(f"fix: {fix}", err=True)
    return code
