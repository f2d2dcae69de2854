"""What `prepare` writes: the same numbers as the node makes at inference, and the settings that they came from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import librosa
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from apoavatar_core.checkpoints.safe_file import read_metadata, write_tensors
from apoavatar_core.data.clips import ClipFormat, StoredClip
from apoavatar_core.data.voice import WholeVoice
from apoavatar_core.hearing import heard_voice
from apoavatar_core.pose import PersonKeypoints, from_frame, to_frame
from apoavatar_core.refocusing import RefocusingConfig, gate_of
from apoavatar_core.settings import changed

FORMAT = ClipFormat(width=96, height=64, frames=9, fps=20)
SPEECH = librosa.load(Path(__file__).parents[2] / "workflows" / "assets" / "speech.wav", sr=16_000, offset=0.2, duration=1.5)[0]


def walking(person: PersonKeypoints, t: int) -> dict:
    """The OpenPose frame of a person who goes to the right, in a picture of 96 by 80 pixels."""
    points = person.points * [0.6, 1, 1] + [0.04 * t, 0, 0]
    return to_frame(PersonKeypoints.from_points(points), 96, 80)


class OneClip:
    """A presenter in a wide picture, and a pose that was found in a taller one, of which the clip is the middle. The voice
    goes on after the last picture, and is louder there.
    """

    format = FORMAT
    voice_frames = 20

    def names(self) -> list[str]:
        return ["clip"]

    def load(self, name: str) -> StoredClip:
        from apoavatar_core.synthetic import frame_keypoints, sample_identity, speech_motion
        from apoavatar_core.synthetic.clip import draw_clip

        rng = np.random.default_rng(5)
        identity, count = sample_identity(rng), FORMAT.frames
        time = np.arange(round(self.voice_frames / FORMAT.fps * 16_000)) / 16_000
        loudness = np.interp(time, [0.05, 0.15, 0.2, 0.3, 0.4, 0.7, 0.9], [0, 0.5, 0.05, 0.4, 0.1, 0.6, 0.1])
        speech = (loudness * np.resize(SPEECH, len(time))).astype(np.float32)
        motion = speech_motion(speech, count, FORMAT.fps, identity, rng)
        frames = np.full((count, 64, 96, 3), 90, np.uint8)
        frames[:, :, :64] = draw_clip(identity, motion, 64)
        keypoints = [walking(from_frame(frame_keypoints(identity, motion, t, 64)), t) for t in range(count)]
        return StoredClip(frames, WholeVoice(speech), 0, keypoints, "a man")


@pytest.fixture(scope="module")
def encoders(training):
    """The tiny preset's, and a small CLIP vision model of ComfyUI's own."""
    import comfy.clip_vision

    from apoavatar_core.data.encoders import load_encoders

    vision = comfy.clip_vision.ClipVisionModel(
        {"model_type": "clip_vision_model", "hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 3,
         "intermediate_size": 64, "patch_size": 14, "image_size": 224, "num_channels": 3, "hidden_act": "gelu",
         "projection_dim": 16, "layer_norm_eps": 1e-5}
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in vision.model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator) * max(parameter[0].numel(), 2) ** -0.5
            parameter.copy_(noise + ("norm" in name and name.endswith("weight")))
    return replace(load_encoders(), clip_vision=vision)


@pytest.fixture(scope="module")
def folder(encoders, tmp_path_factory):
    """The clip, prepared."""
    from apoavatar_core.data.prepare import prepare

    out = tmp_path_factory.mktemp("prepared")
    prepare(OneClip(), out, encoders)
    return out


@pytest.fixture(scope="module")
def node(comfy):
    import nodes

    return lambda node_id: nodes.NODE_CLASS_MAPPINGS[node_id]


@torch.inference_mode()
def conditioned(node, encoders, pose_mode: str, speaking: bool) -> SimpleNamespace:
    """What the node makes of the same picture, pose and voice: text, extras and the tensors for the adapter."""
    from comfy_extras.nodes_audio_encoder import AudioEncoderEncode

    stored, fps, frames = OneClip().load("clip"), FORMAT.fps, FORMAT.frames
    _, clip, vae, audio_encoder = node("ApoAvatarLoadModels").execute({"preset": "tiny"}).result
    audio = {"waveform": torch.from_numpy(stored.voice.samples)[None, None], "sample_rate": 16_000}
    (features,) = AudioEncoderEncode.execute(audio_encoder, audio).result
    gate = node("ApoAvatarLoudnessRefocusing").execute(audio, fps, OneClip.voice_frames, 10.0, 0.5, 8.0, 5.0, 95.0).result[0]
    picture = torch.from_numpy(stored.frames[:1]).float() / 255
    (seen,) = node("CLIPVisionEncode")().encode(encoders.clip_vision, picture, "center")
    positive, negative = (node("CLIPTextEncode")().encode(clip, text)[0] for text in (stored.caption, ""))
    pose_mode = {"pose_mode": pose_mode, "pose": stored.keypoints} | ({"gate": gate} if pose_mode == "refocused" else {})
    positive = node("ApoAvatarConditioning").execute(
        positive=positive, negative=negative, vae=vae, audio_features=features, width=FORMAT.width, height=FORMAT.height,
        length=frames, fps=fps, pose_mode=pose_mode, continue_from={"continue_from": "nothing"}, reference_image=picture,
        clip_vision_output=seen, clip=clip if speaking else None,
    ).result[0]  # fmt: skip
    ((text, extras),) = positive
    tensors = {name: condition.cond[0] for name, condition in extras["model_conds"].items()}
    return SimpleNamespace(text=text[0], extras=extras, tensors=tensors)


def test_a_prepared_clip_equals_what_the_node_makes_of_the_same_picture_pose_and_voice(folder, encoders, node) -> None:
    from apoavatar_core.comfyui import conditions
    from apoavatar_core.data.prepared import PreparedClips

    refocused, hard = conditioned(node, encoders, "refocused", True), conditioned(node, encoders, "hard", False)
    ours = PreparedClips(folder).clip(0, 3)

    def close(ours: torch.Tensor, theirs: torch.Tensor, share: float = 2e-3) -> bool:
        """Within half precision, or `share`, of the largest value."""
        assert ours.shape == theirs.shape
        return bool((ours - theirs).abs().max() <= share * theirs.abs().max())

    assert close(ours["audio"], refocused.tensors[conditions.AUDIO])
    # Where one side draws and then crops, a line may round to another pixel here and there.
    pose = refocused.tensors[conditions.POSE]
    assert (ours["pose"] - pose).abs().mean() < 0.01 * pose.mean()
    # Frame 0 fills its latent frame alone, then four frames each.
    shown = [[0] * 4, [1, 2, 3, 4], [5, 6, 7, 8]]
    keep = torch.stack([1 - ours["dropout"][numbers] for numbers in shown], dim=1)
    assert keep.min() < 0.2 and keep.max() > 0.6
    assert close(keep, refocused.tensors[conditions.POSE_GATE])
    assert (hard.tensors[conditions.POSE_GATE] == 1).all() and ours["posed"] == 1
    assert close(ours["speaking_text"], refocused.text) and close(ours["text"], hard.text)
    assert not torch.equal(ours["speaking_text"], ours["text"])
    assert close(ours["portrait"], refocused.extras["clip_vision_output"].penultimate_hidden_states[0])
    # The node's VAE may compute in another precision than `prepare`'s.
    reference = load_file(folder / "clip.safetensors")["reference"].float()
    assert close(reference, refocused.extras["concat_latent_image"][0], share=0.02)


def test_a_piece_hears_and_weighs_what_the_whole_voice_does_there(encoders, tmp_path) -> None:
    from apoavatar_core.conditioning.voice import voice_of, voice_windows
    from apoavatar_core.data.prepare import prepare

    class Later(OneClip):
        def load(self, name: str) -> StoredClip:
            return replace(super().load(name), first=7)

    prepare(Later(), tmp_path, encoders)
    prepared, voice = load_file(tmp_path / "clip.safetensors"), OneClip().load("clip").voice.sound
    whole = gate_of(heard_voice(voice, 16_000), OneClip.voice_frames, FORMAT.fps, RefocusingConfig()).dropout
    assert torch.equal(prepared["dropout"], torch.from_numpy(whole[7:16]))
    # What is loud within the piece is not what is loud in the whole voice.
    alone = gate_of(heard_voice(voice[5600:12_800], 16_000), 9, FORMAT.fps, RefocusingConfig()).dropout
    assert np.abs(alone - whole[7:16]).max() > 0.1
    heard = voice_of(encoders.audio_encoder.encode_audio(torch.from_numpy(voice)[None, None], 16_000))
    # A number half-way between two of 16 bits may become either.
    torch.testing.assert_close(prepared["audio"].float(), voice_windows(heard, 9, FORMAT.fps, 7), atol=1e-3, rtol=0)


def test_a_long_voice_is_heard_around_the_piece(encoders) -> None:
    class Numbers:
        """Hears every 20 ms which sample it is at."""

        name = "log_mel_40"

        def encode_audio(self, audio, sample_rate):
            rows = audio[0, :, ::320].T[None]
            return {"encoded_audio_all_layers": [torch.cat([rows, rows[:, -1:]], 1)], "encoder": self.name}

    voice = WholeVoice(np.arange(100 * 16_000, dtype=np.float32))
    for first in (2, 1000, 2380):
        heard = replace(encoders, audio_encoder=Numbers()).voice(voice, first, 9, 25)[0, :, 0]
        for latent, expected in enumerate(4 * np.arange(3) + first - 5):
            # Sounds lose their offset before they are heard.
            assert float(heard[latent]) + voice.sound.mean(dtype=float) == pytest.approx(640 * max(expected, 0), abs=1)


def test_the_mouth_is_where_the_clip_shows_it(folder) -> None:
    mouth = load_file(folder / "clip.safetensors")["mouth"]
    lips = np.array(OneClip().load("clip").keypoints[0]["people"][0]["face_keypoints_2d"]).reshape(-1, 3)[48:68, :2]
    cells = (lips - [0, 8]) / 8  # the clip is the canvas without eight pixels above and below
    rows, columns = mouth[0].any(1).nonzero(), mouth[0].any(0).nonzero()
    assert int(rows.min()) == int(cells[:, 1].min()) and int(rows.max()) == int(cells[:, 1].max())
    assert int(columns.min()) == int(cells[:, 0].min()) and int(columns.max()) == int(cells[:, 0].max())


def test_every_file_says_what_made_it(folder, encoders) -> None:
    from apoavatar_core.checkpoints import presets
    from apoavatar_core.data.prepared import PreparedClips
    from apoavatar_core.data.settings import identity

    clips = PreparedClips(folder)
    assert (clips.rates, clips.audio_encoder) == ((20, 20), "log_mel_40")
    written = json.loads(read_metadata(folder / "clip.safetensors")["prepared"])
    assert (written["width"], written["height"], written["frames"]) == (96, 64, 9)
    assert (written["vae"], written["text_encoder"]) == (identity(presets.TINY_VAE), identity(presets.TINY_T5))
    assert (written["alpha"], written["beta"], written["tau"], written["q_low"], written["q_high"]) == (10, 0.5, 8, 5, 95)


@pytest.mark.parametrize(
    ("format", "files", "message"),
    [
        (replace(FORMAT, fps=25), {}, "fps 20, not 25"),
        (replace(FORMAT, width=64), {}, "width 96, not 64"),
        (FORMAT, {"vae": "sha256:0"}, "vae sha256:.*, not sha256:0"),
        (FORMAT, {"audio_file": "sha256:0"}, "audio_file none, not sha256:0"),
    ],
)
def test_a_folder_that_other_settings_made_is_refused(folder, encoders, format, files, message) -> None:
    from apoavatar_core.data.prepare import prepare

    before = (folder / "clip.safetensors").stat()
    source = OneClip()
    source.format = format
    with pytest.raises(ValueError, match=f"--out: .* holds clips with {message}: prepare these into another folder"):
        prepare(source, folder, replace(encoders, files=encoders.files | files))
    assert (folder / "clip.safetensors").stat() == before


def test_what_is_prepared_is_kept_beside_what_another_process_is_writing(folder, encoders, tmp_path, capsys) -> None:
    from apoavatar_core.data.prepare import prepare
    from apoavatar_core.data.prepared import PreparedClips

    with_settings(folder, tmp_path, "clip.safetensors")
    (tmp_path / ".1.part.other.safetensors").write_bytes(b"half")
    prepare(OneClip(), tmp_path, encoders)
    assert capsys.readouterr().out == ""
    assert [path.name for path in PreparedClips(tmp_path).paths] == ["clip.safetensors"]


def with_settings(folder, out, name: str, **settings):
    """A copy of the clip in `out` that says it was prepared otherwise."""
    metadata = json.loads(read_metadata(folder / "clip.safetensors")["prepared"]) | settings
    write_tensors(out / name, load_file(folder / "clip.safetensors"), {"prepared": json.dumps(metadata)})


def test_clips_of_several_settings_are_not_mixed(folder, tmp_path) -> None:
    from apoavatar_core.data.prepared import PreparedClips

    with_settings(folder, tmp_path, "a.safetensors")
    with_settings(folder, tmp_path, "b.safetensors", audio_encoder="wav2vec2")
    with pytest.raises(ValueError, match="b.safetensors was prepared with audio_encoder wav2vec2, not log_mel_40 as a"):
        PreparedClips(tmp_path)


@pytest.mark.parametrize("metadata", [{"audio_encoder": "log_mel_40"}, {"prepared": "[]"}, {"prepared": '{"version": 1}'}])
def test_clips_of_another_version_are_refused(folder, tmp_path, metadata) -> None:
    from apoavatar_core.data.prepared import PreparedClips

    write_tensors(tmp_path / "a.safetensors", load_file(folder / "clip.safetensors"), metadata)
    with pytest.raises(ValueError, match="data: another version wrote .*a.safetensors: run `prepare` again, into"):
        PreparedClips(tmp_path)
    from apoavatar_core.data.settings import VERSION

    with_settings(folder, tmp_path, "a.safetensors", version=VERSION + 1)
    with pytest.raises(ValueError, match="another version wrote"):
        PreparedClips(tmp_path)


def test_a_clip_s_beginning_is_the_beginning_of_all_its_tensors(folder) -> None:
    from apoavatar_core.data.prepared import PreparedClips

    clips = PreparedClips(folder)
    whole, part = clips.clip(0, 3), clips.clip(0, 2)
    assert part["dropout"].shape == (5,)
    for name, time in {"latents": 1, "reference": 1, "audio": 1, "pose": 1, "mouth": 0, "dropout": 0}.items():
        assert torch.equal(part[name], whole[name].narrow(time, 0, part[name].shape[time])), name
        assert part[name].shape[time] < whole[name].shape[time], name
    with pytest.raises(ValueError, match="no clip has 4 latent frames; the longest has 3"):
        clips.of_length(4)


def test_a_part_of_a_clip_is_what_the_node_makes_of_a_clip_that_goes_on_there(folder, encoders) -> None:
    """From latent frame 1 on, which is frame 4: its first latent frame shows the pose of that frame alone."""
    from apoavatar_core.conditioning.pose import grouped_frames, grouped_gate
    from apoavatar_core.conditioning.voice import voice_of, voice_windows
    from apoavatar_core.data.prepared import PreparedClips

    clips, stored = PreparedClips(folder), OneClip().load("clip")
    whole, part = clips.clip(0, 3), clips.clip(0, 2, start=1)
    assert torch.equal(part["latents"], whole["latents"][:, 1:]) and torch.equal(part["mouth"], whole["mouth"][1:])
    assert torch.equal(part["reference"], whole["reference"][:, :2])
    voice = voice_of(encoders.audio_encoder.encode_audio(torch.from_numpy(stored.voice.samples)[None, None], 16_000), "log_mel_40")
    heard = voice_windows(voice, 5, FORMAT.fps, start=4)
    assert torch.allclose(part["audio"], heard, atol=2e-3 * float(heard.abs().max()))
    second, third = (whole["pose"][:, latent].unflatten(0, (4, 3)) for latent in (1, 2))
    film = torch.cat([second[3:], third]).movedim(1, -1)
    assert torch.equal(part["pose"], grouped_frames(film)) and not torch.equal(second[2], second[3])
    assert torch.equal(grouped_gate(part["dropout"]), grouped_gate(whole["dropout"][4:]))


def test_latents_are_normalised_as_wan_s_are(folder) -> None:
    from comfy.latent_formats import Wan21

    from apoavatar_core.data.prepared import PreparedClips

    clip, written = PreparedClips(folder).clip(0, 3), load_file(folder / "clip.safetensors")
    for name in ("latents", "reference"):
        raw, expected = written[name].float(), Wan21()
        mean, deviation = (values.view(16, 1, 1, 1) for values in (expected.latents_mean, expected.latents_std))
        assert torch.allclose(clip[name], (raw - mean) / deviation, atol=1e-4)


def test_what_comes_back_is_the_clip(folder, encoders) -> None:
    film = encoders.vae.decode(load_file(folder / "clip.safetensors")["latents"].float()[None])[0].cpu()
    assert film.shape == (9, 64, 96, 3)
    assert (film - torch.from_numpy(OneClip().load("clip").frames) / 255).abs().mean() < 0.05


def test_several_clips_are_prepared_as_each_alone(folder, encoders, tmp_path) -> None:
    from apoavatar_core.data.prepare import prepare

    class Three(OneClip):
        def names(self) -> list[str]:
            return ["clip", "dark", "wall"]

        def load(self, name: str) -> StoredClip:
            stored = super().load(name)
            return stored if name == "clip" else replace(stored, frames=stored.frames // 2, caption=name)

    for share in ((0, 2), (1, 2)):
        prepare(Three(), tmp_path, encoders, share, batch=2)
    alone, among = load_file(folder / "clip.safetensors"), load_file(tmp_path / "clip.safetensors")
    assert alone.keys() == among.keys()
    for name in alone:
        ours, theirs = among[name].float(), alone[name].float()
        assert torch.allclose(ours, theirs, atol=0.02 * float(theirs.abs().max())), name
    dark, wall = (load_file(tmp_path / f"{name}.safetensors") for name in ("dark", "wall"))
    assert torch.equal(dark["audio"], among["audio"])
    assert not torch.allclose(dark["latents"], among["latents"], atol=0.1)
    assert not torch.equal(dark["text"], wall["text"])

    # A group of which a part was lost is made as before.
    lost = {path: path.read_bytes() for path in (tmp_path / "clip.safetensors", tmp_path / "wall.safetensors")}
    for path, content in lost.items():
        path.unlink()
        prepare(Three(), tmp_path, encoders, (0, 2), batch=2)
        assert path.read_bytes() == content, path.name


def test_an_adapter_for_another_frame_rate_is_refused(trainer, config, prepared, tmp_path) -> None:
    from apoavatar_core.training.config import Adapter

    run = trainer(config)
    run.run()
    assert run.model.adapter.config.fps == 24
    path = sorted(prepared.glob("*.safetensors"))[0]
    faster = json.loads(read_metadata(path)["prepared"]) | {"fps": 25.0}
    write_tensors(tmp_path / "faster" / path.name, load_file(path), {"prepared": json.dumps(faster)})
    file = config.run / "adapter.safetensors"
    with pytest.raises(ValueError, match="adapter.safetensors is for 24 fps and the clips have 25: prepare with --fps 24"):
        trainer(changed(config, run=tmp_path / "second", data=tmp_path / "faster", adapter=Adapter(file=file)))
    fresh = trainer(changed(config, run=tmp_path / "third", data=tmp_path / "faster"))
    assert fresh.model.adapter.config.fps == 25


def test_clips_of_two_frame_rates_lie_in_two_folders(trainer, config, prepared, tmp_path) -> None:
    from apoavatar_core.checkpoints.adapter_file import read_adapter
    from apoavatar_core.data.prepared import PreparedClips

    for path in sorted(prepared.glob("*.safetensors")):
        for rate in (25, 24):
            made = json.loads(read_metadata(path)["prepared"]) | {"fps": float(rate)}
            write_tensors(tmp_path / f"clips/{rate}" / path.name, load_file(path), {"prepared": json.dumps(made)})
    clips = PreparedClips(tmp_path / "clips")
    assert len(clips.paths) == len(clips.lengths) == 8 and clips.rates == (24, 25)
    run = trainer(changed(config, data=tmp_path / "clips", stages=(changed(config.stages[0], steps=1),)))
    assert {run.clips.paths[run.sources[0].clip_at(position, 3)].parent.name for position in range(8)} == {"24", "25"}
    run.run()
    written, _ = read_adapter(config.run / "adapter.safetensors")
    assert (written.fps, written.highest_fps) == (24, 25)
    assert (written.width, written.height) == (64, 64)
    write_tensors(tmp_path / "clips/25/other.safetensors", load_file(path), {"prepared": json.dumps(made)})
    with pytest.raises(ValueError, match="other.safetensors was prepared with fps 24.0, not 25.0"):
        PreparedClips(tmp_path / "clips")
