"""A voice of any length becomes a film: window after window, each on the disk before the next begins."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import comfy.model_management
import folder_paths
import torch
from comfy_api.latest import InputImpl

from ..conditioning.pose import PoseFilm, fit_of, refocused_gate
from ..grid import round_to_clip_length
from ..long_video.folder import FilmFolder, open_film
from ..long_video.hashing import stable_hash
from ..long_video.segments import Encoding, Sound, frame_rate
from ..long_video.windows import Window, windows_of
from ..waveform import check_waveform
from .attaching import adapter_in, said_of_clip
from .clip_values import Earlier
from .film import FILM, Film
from .fingerprint import facts
from .told_progress import Progress
from .windowed_sampling import SHORTEST_NEW, GoingOn, Sampling, films_of, going_on, sample_window

NAME = "long_video"
CARRIED = "motion"
"""The latents of a film's last frames, which its next window goes on from."""


@dataclass(frozen=True)
class LongVideo:
    """A film to be made.

    Attributes:
        sampling: how each window is.
        sound: what is heard with it: AUDIO.
        frames: of the whole film; 0 for as long as the sound.
        motion_frames: of the window before with which a window begins, at most.
        crf: x264's quality.
    """

    sampling: Sampling
    sound: dict
    frames: int = 0
    motion_frames: int = 9
    crf: float = 18.0

    def made(self) -> tuple[InputImpl.VideoFromFile, list[str]]:
        """The film as VIDEO, in ComfyUI's temp folder, and what there is to say about it.

        Raises:
            ValueError: the guider's model or conditioning is none of this pack's; the gate is shorter than the film; the sound
                is unusable.
            OSError: the disk is full.
        """
        films, sound = films_of(self.sampling.guiders), sound_of(self.sound)
        film, *_ = films
        refuse_continued(film)
        frames = self.frames or self.frames_of_sound(film.fps)
        said = list(dict.fromkeys(chain.from_iterable(said_of_guider(guider) for guider in self.sampling.guiders)))
        said += chain.from_iterable(said_of(film, frames) for film in films)
        how = going_on(adapter_in(self.sampling.guider.model_patcher), film.window, self.motion_frames)
        encoding = Encoding(frame_rate(film.fps), self.crf)
        key, settings = self.identity(films, how, frames)
        # A film of its own for each sound: what an earlier one made may not be saved yet.
        told = stable_hash([key, sound.rate, sound.waveform])
        path = Path(folder_paths.get_temp_directory()) / f"apoavatar_{NAME}_{told[:16]}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_film(unfinished_films(), NAME, key, settings) as folder:
            said += folder.said
            for sentence in folder.said:
                logging.info("Long Video: %s", sentence)
            said += list(_windows(self.sampling, film.vae, how, frames, folder, encoding))
            folder.join(path, encoding.rate, sound)
            folder.finish()
        return InputImpl.VideoFromFile(str(path)), said

    def frames_of_sound(self, fps: float) -> int:
        """The video frames, at least one, that come nearest to its duration: a sample more makes no window more."""
        return max(1, round(self.sound["waveform"].shape[-1] / self.sound["sample_rate"] * fps))

    def identity(self, films: list[Film], how: GoingOn, frames: int) -> tuple[str, dict[str, str]]:
        """A hash of everything that the film's pictures follow from, and the same in words."""
        guiders, noise, (film, *_) = self.sampling.guiders, self.sampling.noise, films
        words = {
            "size": f"{film.width}x{film.height}",
            "fps": f"{film.fps:g}",
            "frames": str(frames),
            "window": str(how.window),
            "motion_frames": str(how.overlap),
            "seed": str(noise.seed),
            "steps": str(self.sampling.steps),
            "guider": ", ".join(type(guider).__name__ for guider in guiders),
            "crf": f"{self.crf:g}",
        }
        everything = {
            "words": words,
            "guider": [own_settings(guider) for guider in guiders],
            "texts": [texts_of(guider, films) for guider in guiders],
            "noise": noise,
            "sampler": self.sampling.sampler,
            "sigmas": [expert.sigmas for expert in self.sampling.experts],
            "model": [guider.model_patcher for guider in guiders],
            "vae": [film.vae.latent_channels, film.vae.patcher],
            "voice": [[film.voice.layers, film.voice.silence, film.voice.rate] for film in films],
            "pose": [film.pose and facts_of_pose(film.pose) for film in films],
            "portrait": [film.portrait.facts(how.window) for film in films],
        }
        hashes = {name: stable_hash(facts(value)) for name, value in everything.items()}
        return stable_hash(hashes), words | {name: digest[:8] for name, digest in hashes.items() if name != "words"}


def sound_of(audio: dict) -> Sound:
    """AUDIO as a film's sound, looked at before the first window is made.

    Raises:
        ValueError: it is empty, holds NaN, or has a number of channels that MP4 cannot have.
    """
    check_waveform(audio["waveform"], audio["sample_rate"])
    return Sound(audio["waveform"][0], audio["sample_rate"])


def said_of_guider(guider) -> list[str]:
    """What there is to say about a GUIDER's model and clip."""
    conditions = chain.from_iterable(guider.original_conds.values())
    return said_of_clip(guider.model_patcher, [(None, condition) for condition in conditions])


def own_settings(guider) -> dict:
    """The fields of a GUIDER that are its own: scales and the like."""
    return {name: value for name, value in vars(guider).items() if name not in NOT_OF_THE_FILM}


def texts_of(guider, films: list[Film]) -> dict[str, list[dict]]:
    """The texts that a GUIDER was given, each with the number of the film that its CONDITIONING is of."""
    numbers = {film: number for number, film in enumerate(films)}
    return {
        name: [
            {key: value for key, value in condition.items() if key in TEXT_KEYS} | {"film": numbers.get(condition.get(FILM))}
            for condition in conditions
        ]
        for name, conditions in guider.original_conds.items()
    }


def facts_of_pose(pose: PoseFilm) -> list:
    """A pose film without the sentences about it."""
    return [pose.film, pose.again, pose.gate, pose.reference, pose.dial, pose.crop]


NOT_OF_THE_FILM = {"model_patcher", "model_options", "original_conds", "conds", "inner_model", "loaded_models"}
"""Fields of a GUIDER that hold the model, what a sampling left there, or what is told of each clip."""
TEXT_KEYS = {
    "cross_attn", "pooled_output", "strength", "start_percent", "end_percent", "mask", "mask_strength", "set_area_to_bounds", "area",
    "attention_mask", "control",
}  # fmt: skip


def unfinished_films() -> Path:
    """Where they are kept: ComfyUI empties its temp folder when it starts."""
    return Path(folder_paths.get_output_directory()) / "apoavatar_unfinished"


def refuse_continued(film: Film) -> None:
    """Refuse conditioning that goes on from other frames.

    Raises:
        ValueError: it does.
    """
    if film.start:
        raise ValueError("Long Video begins a film of its own: choose 'nothing' in continue_from of ApoAvatar Conditioning.")


def said_of(film: Film, frames: int) -> list[str]:
    """How pose and gate fit a film of so many frames, in sentences.

    Raises:
        ValueError: the gate is shorter.
    """
    if film.pose is None:
        return []
    whole = film.shape(0, frames)
    if film.pose.gate is not None:
        refocused_gate(film.pose.gate, whole)
    return fit_of(film.pose, whole)


def _windows(
    sampling: Sampling, vae: Any, how: GoingOn, frames: int, folder: FilmFolder, encoding: Encoding
) -> Iterator[str]:
    """Make what the film still lacks; sentences for the user."""
    length = how.window
    progress = Progress(sampling, windows_of(frames, length, how.overlap), folder.frames)
    while folder.frames < frames:
        window, *_ = windows_of(frames, length, how.overlap, folder.frames, folder.position)
        comfy.model_management.throw_exception_if_processing_interrupted()
        try:
            shown, motion = _window(sampling, vae, how, window, folder, progress)
        except Exception as error:
            if not comfy.model_management.is_oom(error) or window.frames <= how.overlap + SHORTEST_NEW:
                raise
        else:
            folder.keep(shown[window.needed(frames)], encoding, {CARRIED: motion})
            progress.finished(window, frames, shown[-1])
            continue
        # Out of the except block, which holds on to what filled the memory.
        comfy.model_management.unload_all_models()
        comfy.model_management.soft_empty_cache()
        length = max(round_to_clip_length(window.frames // 2), how.overlap + SHORTEST_NEW)
        yield f"Out of memory in a window of {window.frames} frames: it goes on with windows of {length}."


def _window(
    sampling: Sampling, vae: Any, how: GoingOn, window: Window, folder: FilmFolder, progress: Progress
) -> tuple[torch.Tensor, torch.Tensor]:
    """A window's frames, IMAGE, and the latents that the next goes on from."""
    earlier = Earlier(folder.carried()[CARRIED], window.overlap, window.start) if window.overlap else Earlier()
    samples = sample_window(sampling, window.frames, window.index, earlier, progress.steps_of(window))
    shown = vae.decode(samples)[0]
    return shown, vae.encode(shown[-how.overlap :]) if how.overlap else torch.zeros(0)
