"""What a node has to say about its inputs: on the node (`js/said.js`), and in the log."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from comfy_api.latest import ui


def saying(node: str, sentences: Sequence[str]) -> ui.PreviewText:
    """The sentences as a node's UI; each is logged with the node's name before it.

    A node that has nothing to say tells that too: what it said in an earlier run then goes away.
    """
    for sentence in sentences:
        logging.info("%s: %s", node, sentence)
    return ui.PreviewText("\n".join(sentences))
