"""`dev.py mutants`: break one line at a time and see whether a test notices.

Every part of the code is named with the tests that speak for it. From each part as many mutants are drawn, seeded: a
comparison or a sign turned, a number changed, a condition negated, an argument or a statement left out. A mutant that no
test notices survives, and is shown. Nothing is changed in the checkout: mutants live in a copy.
"""
from __future__ import annotations

import argparse
import ast
import copy
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .environment import Layout, clean_variables
from .errors import DevError

LONGEST_TEST = 600
"""Seconds after which a mutant counts as noticed: it made a test endless."""

CORE, COMFY = "tests/core", "tests/comfy"
PARTS: dict[str, tuple[str, ...]] = {
    "apoavatar_core/refocusing.py": (f"{CORE}/test_refocusing.py",),
    "apoavatar_core/log_mel.py": (f"{CORE}/test_log_mel.py",),
    "apoavatar_core/guidance.py": (f"{CORE}/test_guidance.py",),
    "apoavatar_core/flow_matching.py": (f"{CORE}/test_flow_matching.py",),
    "apoavatar_core/conditioning/voice.py": (f"{CORE}/test_voice.py", f"{COMFY}/test_conditioning.py"),
    "apoavatar_core/conditioning/pose.py": (f"{COMFY}/test_steps.py", f"{COMFY}/test_conditioning.py"),
    "apoavatar_core/speaking_prompt.py": (f"{CORE}/test_speaking_prompt.py",),
    "apoavatar_core/adapters/audio_dit.py": (f"{CORE}/test_adapters.py",),
    "apoavatar_core/adapters/audio_injection.py": (f"{CORE}/test_adapters.py",),
    "apoavatar_core/adapters/audio_projection.py": (f"{CORE}/test_adapters.py",),
    "apoavatar_core/adapters/pose_adapter.py": (f"{CORE}/test_adapters.py",),
    "apoavatar_core/adapters/unianimate_pose.py": (f"{COMFY}/test_unianimate.py",),
    "apoavatar_core/comfyui/steps.py": (f"{COMFY}/test_steps.py",),
    "apoavatar_core/comfyui/conditions.py": (f"{COMFY}/test_steps.py", f"{COMFY}/test_wan_variants.py"),
    "apoavatar_core/comfyui/continuing.py": (f"{COMFY}/test_warm_start.py",),
    "apoavatar_core/comfyui/guider.py": (f"{COMFY}/test_steps.py",),
    "apoavatar_core/comfyui/clip_values.py": (f"{COMFY}/test_conditioning.py", f"{COMFY}/test_wan_variants.py"),
    "nodes/conditioning.py": (f"{COMFY}/test_conditioning.py", f"{COMFY}/test_steps.py", f"{COMFY}/test_odd_inputs.py"),
    "nodes/sampling.py": (f"{COMFY}/test_conditioning.py",),
    "apoavatar_core/training/examples.py": (f"{COMFY}/test_examples.py",),
    "apoavatar_core/training/pose_schemes.py": (f"{CORE}/test_training.py",),
    "apoavatar_core/training/states.py": (f"{CORE}/test_training.py", f"{COMFY}/test_examples.py"),
    "apoavatar_core/training/trainer.py": (f"{CORE}/test_training.py", f"{COMFY}/test_training.py"),
    "apoavatar_core/training/schedule.py": (f"{CORE}/test_training.py",),
    "apoavatar_core/training/average.py": (f"{CORE}/test_training.py",),
    "apoavatar_core/training/state.py": (f"{CORE}/test_state.py",),
    "apoavatar_core/settings.py": (f"{CORE}/test_training.py",),
    "apoavatar_core/training/optimizers.py": (f"{CORE}/test_training.py",),
    "apoavatar_core/training/loss.py": (f"{CORE}/test_training.py",),
    "apoavatar_core/long_video/windows.py": (f"{CORE}/test_film_windows.py",),
    "apoavatar_core/long_video/hashing.py": (f"{CORE}/test_hashing.py",),
    "apoavatar_core/long_video/segments.py": (f"{CORE}/test_film_segments.py",),
    "apoavatar_core/long_video/state.py": (f"{CORE}/test_film_folder.py",),
    "apoavatar_core/long_video/folder.py": (f"{CORE}/test_film_folder.py",),
    "apoavatar_core/locks.py": (f"{CORE}/test_film_folder.py",),
    "apoavatar_core/data/films.py": (f"{CORE}/test_video_folder.py",),
    "apoavatar_core/data/shards.py": (f"{CORE}/test_video_folder.py",),
    "apoavatar_core/data/sources.py": (f"{CORE}/test_video_folder.py", f"{CORE}/test_clip_bank.py"),
    "apoavatar_core/data/clips.py": (f"{CORE}/test_clip_bank.py", f"{COMFY}/test_prepare.py"),
    "apoavatar_core/data/settings.py": (f"{CORE}/test_clip_bank.py", f"{COMFY}/test_prepare.py"),
    "apoavatar_core/data/encoders.py": (f"{COMFY}/test_prepare.py",),
    "apoavatar_core/data/prepare.py": (f"{COMFY}/test_prepare.py",),
    "apoavatar_core/data/prepared.py": (f"{COMFY}/test_prepare.py",),
    "apoavatar_core/data/mouth.py": (f"{CORE}/test_training.py",),
    "apoavatar_core/recipe/folder.py": (f"{CORE}/test_recipe.py",),
    "apoavatar_core/recipe/pictures.py": (f"{CORE}/test_recipe.py",),
    "apoavatar_core/recipe/plan.py": (f"{CORE}/test_recipe.py",),
    "apoavatar_core/recipe/settings.py": (f"{CORE}/test_recipe.py",),
    "apoavatar_core/training/ahead.py": (f"{CORE}/test_recipe.py",),
    "apoavatar_core/training/log.py": (f"{CORE}/test_recipe.py",),
    "apoavatar_core/evaluation/measures.py": (f"{CORE}/test_evaluation.py",),
    "apoavatar_core/evaluation/frechet.py": (f"{CORE}/test_evaluation.py",),
    "apoavatar_core/pose/mediapipe/body.py": (f"{CORE}/test_mediapipe.py",),
    "apoavatar_core/pose/mediapipe/crops.py": (f"{CORE}/test_mediapipe.py",),
    "apoavatar_core/pose/mediapipe/detector.py": (f"{CORE}/test_mediapipe.py",),
    "apoavatar_core/pose/mediapipe/face.py": (f"{CORE}/test_mediapipe.py",),
    "apoavatar_core/pose/mediapipe/hand.py": (f"{CORE}/test_mediapipe.py",),
    "apoavatar_core/pose/mediapipe/holistic.py": (f"{CORE}/test_mediapipe.py",),
    "apoavatar_core/pose/mediapipe/keypoints.py": (f"{CORE}/test_mediapipe.py",),
    "apoavatar_core/pose/mediapipe/network.py": (f"{CORE}/test_mediapipe.py",),
    "apoavatar_core/pose/mediapipe/smoothing.py": (f"{CORE}/test_mediapipe.py",),
    "apoavatar_core/pose/mediapipe/tracking.py": (f"{CORE}/test_mediapipe.py",),
    "apoavatar_core/pose/model.py": (f"{CORE}/test_pose.py", f"{CORE}/test_mediapipe.py"),
    "apoavatar_core/pose/measurements.py": (f"{CORE}/test_pose.py", f"{CORE}/test_evaluation.py"),
}


@dataclass(frozen=True)
class Mutant:
    """One changed line of a file, and what the file says then."""

    file: str
    line: int
    before: str
    after: str
    content: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}\n  - {self.before}\n  + {self.after}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("parts", nargs="*", metavar="FILE", help="parts to try (default: all that have tests named)")
    parser.add_argument("--count", type=int, default=3, metavar="N", help="mutants of each part (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the draw (default: %(default)s)")


def run(layout: Layout, arguments: argparse.Namespace) -> None:
    """Try the mutants and say how many survive.

    Raises:
        DevError: a part has no tests, or its tests fail as it is.
    """
    for part in arguments.parts:
        if part not in PARTS:
            raise DevError(f"{part} is no part with tests of its own; the parts are {', '.join(PARTS)}.")
    survivors, tried = [], 0
    with checkout_copy(layout) as folder:
        for part in arguments.parts or PARTS:
            if not passes(folder, PARTS[part]):
                raise DevError(f"the tests of {part} fail without a mutant: {' '.join(PARTS[part])}.")
            source = (folder / part).read_text(encoding="utf-8")
            for mutant in drawn(part, source, arguments.count, arguments.seed):
                (folder / part).write_text(mutant.content, encoding="utf-8")
                survived = passes(folder, PARTS[part])
                print(f"{'SURVIVED' if survived else 'noticed '} {mutant}", flush=True)
                tried += 1
                survivors += [mutant] if survived else []
            (folder / part).write_text(source, encoding="utf-8")
    print(f"\n{len(survivors)} of {tried} mutants survived ({100 * len(survivors) / max(tried, 1):.0f} %).")


class checkout_copy:
    """A copy of the checkout's files with its environment linked, for a while."""

    def __init__(self, layout: Layout):
        self.layout = layout

    def __enter__(self) -> Path:
        self.folder = Path(tempfile.mkdtemp(prefix="apoavatar-mutants-"))
        copy_of = Layout(self.folder)
        skipped = shutil.ignore_patterns(".git", "runs", "output", "__pycache__", ".venv", ".comfyui", ".hypothesis")
        shutil.copytree(self.layout.root, self.folder, dirs_exist_ok=True, ignore=skipped)
        copy_of.venv.symlink_to(self.layout.venv, target_is_directory=True)
        copy_of.state.mkdir()
        copy_of.comfyui.symlink_to(self.layout.comfyui, target_is_directory=True)
        return self.folder

    def __exit__(self, *_) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def passes(folder: Path, tests: Sequence[str]) -> bool:
    """Whether these tests of the copy pass."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    variables = {**clean_variables(), "PYTHONDONTWRITEBYTECODE": "1"}
    variables.pop("COMFYUI_PATH", None)  # the copy links the same one
    try:
        return not subprocess.run(
            command, cwd=folder, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=LONGEST_TEST
        ).returncode
    except subprocess.TimeoutExpired:
        return False


def drawn(file: str, source: str, count: int, seed: int) -> list[Mutant]:
    """`count` different mutants of a file, on different lines where it has as many."""
    every = list(mutants_of(file, source))
    random.Random(f"{seed} {file}").shuffle(every)
    chosen: dict[int, Mutant] = {}
    for mutant in every:
        chosen.setdefault(mutant.line, mutant)
    return list(chosen.values())[:count]


def mutants_of(file: str, source: str) -> Iterator[Mutant]:
    """Every mutant of a file that the rules below make."""
    tree = ast.parse(source)
    lines = source.splitlines()
    for node in acting_nodes(tree):
        for changed in changes(node):
            start, end = node.lineno - 1, node.end_lineno
            prefix, suffix = lines[start][: node.col_offset], lines[end - 1][node.end_col_offset :]
            # Offsets count bytes; a line with other characters before the node is left alone.
            if not lines[start].isascii() or not lines[end - 1].isascii():
                continue
            text = prefix + as_code(changed) + suffix
            before = " ".join(line.strip() for line in lines[start:end])
            content = "\n".join([*lines[:start], text, *lines[end:]]) + "\n"
            if parses(content):
                yield Mutant(file, node.lineno, before, text.strip(), content)


DESCRIBING = ("define_schema", "add_arguments")
"""Functions that say what a user sees and compute nothing."""
UNSEEN = ("device", "flush", "strict")
"""Arguments without effect on a machine with one device and in a program that makes no mistake."""


def acting_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that compute: no annotations, no messages, no defaults of a signature, no module constants."""
    for node in ast.iter_child_nodes(tree):
        if getattr(node, "name", None) in DESCRIBING:
            continue
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            for statement in node.body:
                if isinstance(node, ast.FunctionDef):
                    yield from computing(statement)
                elif isinstance(statement, ast.FunctionDef):
                    yield from acting_nodes(ast.Module([statement], []))


def computing(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, (ast.Raise, ast.JoinedStr, ast.Import, ast.ImportFrom, ast.arguments)):
        return
    if isinstance(node, ast.keyword) and node.arg in UNSEEN:
        return
    if isinstance(node, ast.Expr) and (isinstance(node.value, ast.Constant) or is_message(node.value)):
        return  # a docstring, or something said
    yield node
    for name, value in ast.iter_fields(node):
        if name == "annotation":
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from computing(child)


def is_message(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "say")


TURNED = {
    ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """What a node could be by mistake."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in TURNED:
        yield replaced(node, ops=[TURNED[type(node.ops[0])]()])
    elif isinstance(node, ast.BinOp) and type(node.op) in TURNED and not isinstance(node.left, (ast.Constant, ast.JoinedStr)):
        yield replaced(node, op=TURNED[type(node.op)]())
    elif isinstance(node, ast.BoolOp):
        yield replaced(node, op=TURNED[type(node.op)]())
    elif isinstance(node, ast.IfExp):
        yield replaced(node, body=node.orelse, orelse=node.body)
    elif isinstance(node, ast.Constant) and type(node.value) is bool:
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield ast.Constant(node.value + 1)
    elif isinstance(node, ast.Call) and node.keywords:
        for number, keyword in enumerate(node.keywords):
            if keyword.arg and keyword.arg not in UNSEEN:
                yield replaced(node, keywords=[*node.keywords[:number], *node.keywords[number + 1 :]])
    elif isinstance(node, (ast.AugAssign, ast.Expr)):
        yield ast.Pass()


def replaced(node: ast.AST, **fields) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def as_code(node: ast.AST) -> str:
    text = ast.unparse(ast.fix_missing_locations(node))
    return f"({text})" if isinstance(node, ast.expr) and not isinstance(node, (ast.Constant, ast.Call)) else text


def parses(content: str) -> bool:
    try:
        ast.parse(content)
    except SyntaxError:
        return False
    return True
