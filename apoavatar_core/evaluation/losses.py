"""What each condition is worth to a model: the loss of Eq. 1 on prepared clips with the condition as it is, with another in its
place, and without it. Clips, noise and σ are the same in all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ..adapters import ApoAvatarAdapter
from ..checkpoints.adapter_file import read_adapter
from ..comfyui import trainable
from ..comfyui.text_attention import attention_on_words
from ..data.prepared import PreparedClips
from ..flow_matching import interpolate, velocity_target
from ..training.config import Conditions, Loss
from ..training.examples import Batch, ExampleSource
from ..training.loss import loss_weights
from ..training.model import FlowMatching

SHIFT = 3.0
"""Of the noise levels."""
Caption = Callable[[PreparedClips, int, int], Tensor]
"""(clips, index of a clip, latent frames) → the text that it is shown with."""


def right(clips: PreparedClips, index: int, latent_frames: int) -> Tensor:
    return clips.clip(index, latent_frames)["text"]


def right_and_speaking(clips: PreparedClips, index: int, latent_frames: int) -> Tensor:
    """With the speaking prompt."""
    return clips.clip(index, latent_frames)["speaking_text"]


def of_another_clip(clips: PreparedClips, index: int, latent_frames: int) -> Tensor:
    return clips.clip((index + 1) % len(clips.paths), latent_frames)["text"]


def none(clips: PreparedClips, index: int, latent_frames: int) -> Tensor:
    return clips.clip(index, latent_frames)["null_text"]


def as_it_is(adapter: ApoAvatarAdapter) -> AbstractContextManager:
    return nullcontext()


@contextmanager
def without_refinement(adapter: ApoAvatarAdapter) -> Iterator[None]:
    """C of Eq. 6 is 0."""
    hook = adapter.audio_dit.o.register_forward_hook(lambda layer, inputs, refined: torch.zeros_like(refined))
    yield
    hook.remove()


@contextmanager
def with_tokens_shuffled(adapter: ApoAvatarAdapter) -> Iterator[None]:
    """The audio adapter sees each frame's tokens in another order; the blocks see them as they are."""

    def shuffled(module: nn.Module, arguments: tuple) -> tuple:
        audio, video, *others = arguments
        order = torch.randperm(video.shape[2], generator=torch.Generator().manual_seed(0))
        return audio, video[:, :, order], *others

    hook = adapter.audio_dit.register_forward_pre_hook(shuffled)
    yield
    hook.remove()


@dataclass(frozen=True)
class Case:
    """One line of the table. state: of `STATES`; the pose is whole, or weighed as the shares `mask` and `soft_gate` say.
    weights: where in the picture the loss is looked at.
    """

    question: str
    title: str
    state: str
    caption: Caption = right
    mask: float = 0.0
    soft_gate: float = 0.0
    weights: Loss = Loss()
    change: Callable[[ApoAvatarAdapter], AbstractContextManager] = as_it_is

    @property
    def conditions(self) -> Conditions:
        whole = 1 - self.mask - self.soft_gate
        return Conditions(states={self.state: 1.0}, speaking=0.0, whole_pose=whole, soft_gate=self.soft_gate)


CASES = (
    *(
        Case(f"text in {state}", title, state, caption)
        for state in ("S1", "text_audio", "S4")
        for title, caption in (
            ("right", right), ("right, speaking", right_and_speaking), ("another clip's", of_another_clip), ("none", none)
        )  # fmt: skip
    ),
    Case("pose in S4", "hard", "S4"),
    Case("pose in S4", "mask of 0 and 1", "S4", mask=1.0),
    Case("pose in S4", "soft gate", "S4", soft_gate=1.0),
    Case("pose in S4", "none", "S3"),
    *(
        Case("where in S3", title, "S3", weights=weights)
        for title, weights in (
            ("all", Loss()), ("the mouth", Loss(mouth_weight=1e6)), ("what moves", Loss(motion_weight=1e6))
        )  # fmt: skip
    ),
    *(
        Case(f"refined audio in {state}", title, state, change=change)
        for state in ("S3", "S4")
        for title, change in (
            ("as it is", as_it_is), ("C = 0", without_refinement), ("tokens shuffled", with_tokens_shuffled),
        )  # fmt: skip
    ),
)
"""Of one question the first is what the others are compared with."""


@dataclass(frozen=True)
class Line:
    """A case's mean loss, how much more it is than the first's of its question, and the standard error of that over clips."""

    case: Case
    loss: float
    more: float
    error: float


def load_model(dit: Path, adapter: Path) -> FlowMatching:
    """The model of two files, as training calls it."""
    config, tensors = read_adapter(adapter)
    module = ApoAvatarAdapter(config)
    module.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return FlowMatching(trainable.load_dit(dit), module, Loss()).eval()


@torch.no_grad()
def clip_losses(model: FlowMatching, clips: PreparedClips, case: Case, draws: int) -> Tensor:
    """The loss of each clip [N] in a case, a mean over `draws` of noise and σ."""
    count, latent_frames = len(clips.paths), int(clips.lengths.min())
    source = ExampleSource(clips, case.conditions, SHIFT, seed=0)
    losses = torch.zeros(count)
    with case.change(model.adapter):
        for epoch in range(draws):
            positions = range(epoch * count, (epoch + 1) * count)
            indices = [source.clip_at(position, latent_frames) for position in positions]
            batch = captioned(source.batch(positions, latent_frames), clips, indices, case.caption, latent_frames)
            predicted = model.velocity(batch, interpolate(batch.data, batch.noise, batch.sigma), batch.sigma)
            squared = (predicted - velocity_target(batch.data, batch.noise)).square()
            weighted = loss_weights(batch.data, batch.mouth, case.weights) * squared
            losses[indices] += weighted.mean((1, 2, 3, 4)) / draws
    return losses


def captioned(batch: Batch, clips: PreparedClips, indices: list[int], caption: Caption, latent_frames: int) -> Batch:
    """The batch with these texts, unless its state has none."""
    texts = nn.utils.rnn.pad_sequence([caption(clips, index, latent_frames) for index in indices], batch_first=True)
    return replace(batch, conditions={**batch.conditions, "context": texts})


def measure(model: FlowMatching, clips: PreparedClips, draws: int) -> list[Line]:
    """All of `CASES`.

    Raises:
        ValueError: there is one clip alone, so no other has a caption.
    """
    if len(clips.paths) < 2:
        raise ValueError("--data: give two clips or more, so that there is another clip's caption")
    lines, first = [], {}
    for case in CASES:
        losses = clip_losses(model, clips, case, draws)
        more = losses - first.setdefault(case.question, losses)
        lines.append(Line(case, float(losses.mean()), float(more.mean()), float(more.std() / len(more) ** 0.5)))
    return lines


def words_attended(model: FlowMatching, clips: PreparedClips) -> list[float]:
    """Each block's share of the text attention on tokens of the captions, in the state that has nothing else."""
    source = ExampleSource(clips, Conditions(states={"S1": 1.0}, speaking=0.0), SHIFT, seed=0)
    batch = source.batch(range(len(clips.paths)), int(clips.lengths.min()))
    noisy = interpolate(batch.data, batch.noise, batch.sigma)
    return attention_on_words(
        model.dit, lambda: model.velocity(batch, noisy, batch.sigma), batch.conditions["context"]
    )


def table(lines: list[Line], attended: list[float]) -> str:
    """All of it as text."""
    rows = [f"{'question':24}{'case':18}{'loss':>8}{'more':>9} ± standard error"]
    rows += [
        f"{line.case.question:24}{line.case.title:18}{line.loss:8.4f}{line.more:+9.4f} ± {line.error:.4f}" for line in lines
    ]
    return "\n".join([*rows, "text attention on words, block by block: " + " ".join(f"{share:.1%}" for share in attended)])
