"""The command line: one verb, one file.

Torch is imported inside the verbs that need it, so that `triptych --help` answers at once.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Sequence

from triptych._version import __version__
from triptych.cli import (
    check,
    compare,
    conformance,
    data,
    demo,
    duel,
    evaluate,
    report,
    resume,
    sample,
    steer,
    train,
)
from triptych.cli._registry import Verb, verb
from triptych.core.nearest import VERBS_ELSEWHERE, did_you_mean

__all__ = ["VERBS", "main"]

VERBS: dict[str, Verb] = {
    "demo": verb(
        "demo",
        demo.DemoFlags,
        demo.demo,
        "a GAN, a VAE and a flow-matching model side by side, in one report",
    ),
    "train": Verb(
        train.TrainFlags, train.train, "train one model: triptych train dcgan --data mnist --minutes 5"
    ),
    "resume": verb(
        "resume", resume.ResumeFlags, resume.resume, "continue a stopped run or duel, to the same bits"
    ),
    "duel": verb(
        "duel", duel.DuelFlags, duel.duel, "models with equal budgets and several seeds: which is better?"
    ),
    "sample": Verb(sample.SampleFlags, sample.sample, "images from a run: a grid, an array or a folder"),
    "steer": Verb(
        steer.SteerFlags,
        steer.steer,
        "latent space of a run: interpolate, mix, find directions, edit, invert",
    ),
    "evaluate": verb(
        "evaluate", evaluate.EvaluateFlags, evaluate.evaluate, "score a run, or one folder against another"
    ),
    "compare": verb(
        "compare", compare.CompareFlags, compare.compare, "rank runs by their scores, as far as errors allow"
    ),
    "check": verb("check", check.CheckFlags, check.check, "the GAN checklist, answered from a run"),
    "report": verb("report", report.ReportFlags, report.report, "one HTML file about runs or a duel"),
    "data": Verb(
        data.DataInspectFlags, data.data, "data inspect SOURCE: what it contains, and what is broken in it"
    ),
    "conformance": verb(
        "conformance",
        conformance.ConformanceFlags,
        conformance.conformance,
        "check the metrics against known answers",
    ),
}
GROUPS = {  # as --help lists them
    "train": ("demo", "train", "resume", "duel"),
    "use a trained model": ("sample", "steer"),
    "measure": ("evaluate", "compare", "check", "report"),
    "check data and installation": ("data", "conformance"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        argv: The words after "triptych"; None: those of this process.

    Returns:
        The exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a path that the terminal cannot show must not end a verb
        sys.stdout.reconfigure(errors="backslashreplace")
    if len(words) > 1 and words[0] == "help":  # triptych help train
        words = [*words[1:], "--help"]
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if words[0] == "--version":
        print(f"triptych {__version__}")
        return 0
    name, rest = words[0], words[1:]
    if name not in VERBS:
        hint = did_you_mean(name, VERBS, VERBS_ELSEWHERE)
        return complain(f"unknown verb {name!r}.{hint} There are: {', '.join(VERBS)}", 2)
    try:
        return run_verb(name, rest)
    except KeyboardInterrupt as stop:
        return complain(str(stop) or "stopped before anything was saved", 130)
    except BrokenPipeError:  # the reader of our output has gone: | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def run_verb(name: str, rest: list[str]) -> int:
    """Run a known verb and turn its errors into one sentence and an exit code.

    Args:
        name: The verb.
        rest: The words after it.

    Returns:
        The exit code.

    Raises:
        BrokenPipeError: When the reader of standard output has gone.
        ValueError: In place of the sentence, where TRIPTYCH_DEBUG is set.
        OSError: The same.
    """
    from triptych.core.errors import UsageError

    as_json = "--json" in rest
    try:
        result = VERBS[name].run([word for word in rest if word != "--json"])
    except UsageError as error:
        return complain(str(error), 2)
    except BrokenPipeError:  # an OSError, but nothing went wrong here
        raise
    except (ValueError, OSError) as error:
        if os.environ.get("TRIPTYCH_DEBUG"):
            raise
        return complain(message_of(error), 1)
    if as_json:
        print(json.dumps(result))
    return int(result.get("exit", 0))


def message_of(error: Exception) -> str:
    """An error's own sentence; for the system's errors, one made of its file and its reason."""
    if isinstance(error, FileExistsError) and error.filename:
        return f"cannot make the folder {error.filename}: a file has that name"
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"cannot read or write {error.filename}: {error.strerror}"
    return str(error)


def complain(message: str, code: int) -> int:
    """Print what is wrong on standard error.

    Args:
        message: One sentence.
        code: The exit code that goes with it.

    Returns:
        `code`.
    """
    print(f"triptych: {message}", file=sys.stderr)
    return code


def overview() -> str:
    """What `triptych --help` prints."""
    lines = [
        "triptych: train, sample and measure GANs, VAEs and diffusion models under one protocol",
        "",
        "start with:  triptych demo      (a few minutes on a CPU; nothing is downloaded)",
        "usage:       triptych VERB ...  (triptych VERB --help lists its flags)",
    ]
    for group, names in GROUPS.items():
        lines += ["", f"{group}:", *(f"  {name:<11} {VERBS[name].summary}" for name in names)]
    codes = "exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted (what was trained is saved)"
    return "\n".join([*lines, "", codes])
