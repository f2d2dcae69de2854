"""ComfyUI's Cancel, for loops that it does not see."""

from __future__ import annotations

import comfy.model_management


def end_if_cancelled() -> None:
    """Raise what ends a prompt, once, where the user has cancelled it."""
    comfy.model_management.throw_exception_if_processing_interrupted()
