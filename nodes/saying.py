"""What a node has to say about its inputs: under the node, and in the log."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from comfy_api.latest import ui


def saying(node: str, sentences: Sequence[str]) -> ui.PreviewText | None:
    """The sentences as a node's UI, or None if there are none; each is logged with the node's name before it."""
    for sentence in sentences:
        logging.info("%s: %s", node, sentence)
    return ui.PreviewText("\n".join(sentences)) if sentences else None
