"""Failures that are told to the user in words, without a traceback."""


class DevError(Exception):
    """One clear sentence, then whatever log lines explain it."""


class SetupError(DevError):
    """Something this checkout needs could not be made."""


class ServerError(DevError):
    """ComfyUI did not start, or stopped."""


class WorkflowError(DevError):
    """A workflow cannot be turned into a prompt, was refused, or failed in one of its nodes."""


def tail(text: str, lines: int = 20) -> str:
    """The last lines of a log."""
    return "\n".join(text.rstrip().splitlines()[-lines:])
