"""The console script: finds the command, runs it, and turns errors into a line and an exit code."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from emabench.cli.app.discovery import CommandFolder
from emabench.cli.app.standard_streams import OutputError, leave_output, open_streams
from emabench.errors import EmabenchError, InterruptedRunError, UsageError
from emabench.table import first_hidden, visible
from emabench.version import __version__

_DEBUG = "--debug"

app = typer.Typer(
    cls=CommandFolder,
    add_completion=True,
    rich_markup_mode=None,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line of this process and exit with its code."""
    open_streams()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; whatever goes wrong becomes one line."""
    words, debug = _without_debug(arguments)
    _quiet_logs(debug)
    try:
        _check_words(words)
        code = _invoke(words)
        sys.stdout.flush()
    except BrokenPipeError:
        leave_output()  # the reader is gone, as in | head
        return EmabenchError.exit_code
    except EmabenchError as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, OutputError):
            leave_output()
        return _report(error)
    except (KeyboardInterrupt, typer.Abort):
        return _report(InterruptedRunError("interrupted"))
    except Exception as error:
        if debug:
            traceback.print_exc()
        kind, text = type(error).__name__, " ".join(str(error).split())
        _say(f"internal error: {kind}: {text}; run with {_DEBUG} for the traceback")
        return EmabenchError.exit_code
    return code


def _check_words(words: Sequence[str]) -> None:
    """Refuse what is no text, of which Python keeps halves of characters, or cannot be seen."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"the argument {word[:80]!r} is not UTF-8 text",
                hint="rename the file, or type it again in a UTF-8 terminal",
            ) from None
        hidden = first_hidden(word)
        if hidden is not None:
            raise UsageError(
                f"the argument {word[:80]!a} has the control character {hidden!a}",
                hint="leave it out",
            )


@app.callback()
def _emabench(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[
        bool, typer.Option(_DEBUG, help="Show the traceback of an error. Works with every command.")
    ] = False,
) -> None:
    """What does a momentum (EMA) encoder cost, and what does it buy?

    Examples:
        emabench run --method moco --ema-scope projector
        emabench compare --metric top1,throughput
    """
    if version:
        typer.echo(f"emabench {__version__}")
        raise typer.Exit


def _invoke(words: Sequence[str]) -> int:
    """Run typer; its own complaints about the command line become usage errors."""
    try:
        result: Any = typer.main.get_command(app).main(
            args=list(words), prog_name="emabench", standalone_mode=False
        )
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 0
    except Exception as error:
        if (
            hasattr(error, "format_message")
            and getattr(error, "exit_code", None) == UsageError.exit_code
        ):
            raise _usage_error(error) from error
        raise
    if result == InterruptedRunError.exit_code:
        raise KeyboardInterrupt
    return result if isinstance(result, int) else 0


def _usage_error(error: Any) -> UsageError:
    """Turn the complaint of typer's parser into one line and a hint."""
    context = getattr(error, "ctx", None)
    path = "emabench" if context is None else context.command_path
    hint = f"'{path} --help' lists the choices"
    near = getattr(error, "possibilities", None)
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    message = (getattr(error, "message", "") if near else "") or error.format_message()
    return UsageError(message[:1].lower() + message[1:].rstrip("."), hint=hint)


def _without_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    """Take ``--debug`` out, wherever it stands before a lone ``--``."""
    words = list(arguments)
    end = words.index("--") if "--" in words else len(words)
    head = [word for word in words[:end] if word != _DEBUG]
    return head + words[end:], len(head) < end


def _quiet_logs(debug: bool) -> None:
    """Keep the tracebacks that floors below log away from the user, unless asked for."""
    log = logging.getLogger("emabench")
    log.handlers = [logging.StreamHandler() if debug else logging.NullHandler()]
    log.propagate = False


def _report(error: EmabenchError) -> int:
    _say(f"error: {error.message}")
    if error.hint:
        _say(f"hint: {error.hint}")
    return error.exit_code


def _say(text: str) -> None:
    """Write one line to stderr; a closed stderr is nobody's concern any more."""
    try:
        sys.stderr.write(visible(" ".join(text.splitlines())) + "\n")
        sys.stderr.flush()
    except OSError:
        pass
