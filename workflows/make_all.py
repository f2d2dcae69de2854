"""Make anew everything that shows or tells what the shipped files do: `python workflows/make_all.py MEASURES.json`.

In the environment of `dev.py`, with Chromium, after new weights are in `apoavatar_core/presets` and
`python -m apoavatar_core.evaluation presenter --json MEASURES.json` has measured them. Writes the model card's table, what the
workflows take, app and blueprint, thumbnails, the strips in `docs` (the README's first picture among them), the picture of the
graph, and the help pages' pictures. What the eye sees, and the floors in `tests/comfy/floors.py`, are for people to write.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))

from apoavatar_core.evaluation.model_card import write_card  # noqa: E402

CARD = FOLDER.parent / "docs" / "model_card.md"
MAKERS = ("make_costs.py", "make_variants.py", "make_pictures.py", "make_help_pictures.py")
"""In this order: the app has the note of its workflow, and help pages show frames of the strips."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measures", type=Path, help="what `evaluation presenter --json` has written")
    measures = parser.parse_args().measures
    try:
        report = json.loads(measures.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        sys.exit(f"{measures} cannot be read ({error}): make it with `python -m apoavatar_core.evaluation presenter --json FILE`.")
    try:
        write_card(CARD, report)
    except ValueError as error:
        sys.exit(str(error))
    for maker in MAKERS:
        print(maker, flush=True)
        subprocess.run([sys.executable, FOLDER / maker], check=True)


if __name__ == "__main__":
    main()
