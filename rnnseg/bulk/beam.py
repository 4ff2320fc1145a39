"""The options of Apache Beam, and the errors of its workers."""

import contextlib
import io
import logging
import re
import shlex
from collections.abc import Iterator
from typing import Any

from rnnseg.errors import UserError

# A UserError in the text that Apache Beam makes of the exceptions of its workers, and the part that
# Beam appends to the message of an exception.
_WORKERS_ERROR = re.compile(r"UserError: (.*?)(?: \[while running|$)", re.MULTILINE)
_BEAMS_PART = re.compile(r" \[while running .*\]$", re.DOTALL)


def read_options(text: str) -> tuple[Any, Any]:
    """Reads the options of a pipeline.

    Args:
      text: as on a command line, such as "--runner=DataflowRunner --project=NAME". Without a
        runner, it is the DirectRunner, on this machine.

    Returns:
      The runner and the `PipelineOptions`.

    Raises:
      UserError: Apache Beam is not installed, or knows no such runner, option or value.
    """
    try:
        from apache_beam.options.pipeline_options import (
            PipelineOptions,
            StandardOptions,
            WorkerOptions,
        )
        from apache_beam.runners import create_runner
    except ImportError as error:
        raise UserError(f"--beam needs apache-beam: pip install rnnseg[beam] ({error})") from error
    try:
        options = PipelineOptions(shlex.split(text))
        runner = create_runner(options.view_as(StandardOptions).runner or "DirectRunner")
    except (ValueError, ImportError) as error:
        raise UserError(f"--beam {text}: {error}") from error
    # Processes of workers would tell dozens of lines about themselves.
    worker = options.view_as(WorkerOptions)
    worker.default_sdk_harness_log_level = worker.default_sdk_harness_log_level or "ERROR"
    # Beam also logs the traceback of every worker for each exception that it raises.
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    _check(text, options)
    return runner, options


def _check(text: str, options: Any) -> None:
    """Refuses wrong values and, without another runner, options that nobody would look at."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            known = options.get_all_options()
            given = options.get_all_options(retain_unknown_options=True)
    except SystemExit as error:  # argparse ends the process
        fault = printed.getvalue().strip().rpartition("error: ")[2]
        raise UserError(f"--beam {text}: {fault}") from error
    unknown = sorted(given.keys() - known.keys())
    # Other runners have options of their own.
    if unknown and known["runner"] in (None, "DirectRunner"):
        raise UserError(
            f"--beam {text}: Apache Beam's DirectRunner has no option --{unknown[0]}; expected one "
            "such as --direct_num_workers"
        )


def user_error_of(error: BaseException) -> UserError | None:
    """Returns the UserError of a worker that an exception comes from; None if there is none.

    Args:
      error: the exception.
    """
    for cause in causes(error):
        if isinstance(cause, UserError):
            return UserError(_BEAMS_PART.sub("", str(cause)))
        found = _WORKERS_ERROR.search(str(cause))
        if found:
            return UserError(found[1])
    return None


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an exception and those that it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__
