"""What a node has to say about its inputs: on the node (`js/said.js`), and in the log."""

from __future__ import annotations

import logging
from collections.abc import Sequence


def saying(node: str, sentences: Sequence[str]) -> dict[str, list[str]]:
    """The sentences as a node's UI; each is logged with the node's name before it.

    With `has_intermediate_output` in the node's schema ComfyUI sends it again when the node's results are cached. A node that has
    nothing to say tells that too, for what it said in an earlier run then goes away. It does so without a text, which ComfyUI's
    queue would show as the run's result.
    """
    for sentence in sentences:
        logging.info("%s: %s", node, sentence)
    return {"text": list(sentences)}
