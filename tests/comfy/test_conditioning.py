"""What ApoAvatar Conditioning makes of a voice, a pose and a film so far, with the tiny preset's VAE and text encoder."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

SIDE, FPS = 32, 25.0
PRESENTER = Path(__file__).resolve().parents[2] / "workflows" / "assets" / "presenter.png"
FREE, FROM_NOTHING = {"pose_mode": "pose_free"}, {"continue_from": "nothing"}


@pytest.fixture(scope="module")
def node(pack):
    return pack("nodes.conditioning").Conditioning


@pytest.fixture(scope="module")
def vae(pack):
    return pack("apoavatar_core.comfyui.loading").load_vae(pack("apoavatar_core.checkpoints.presets").TINY_VAE)


@pytest.fixture(scope="module")
def clip(pack):
    return pack("apoavatar_core.comfyui.loading").load_tiny_text_encoder()


@pytest.fixture(scope="module")
def keys(pack):
    return pack("apoavatar_core.comfyui.conditions")


TEXT = [[torch.ones(1, 8, 16), {}]]


def voice(rows: int = 200) -> dict:
    """Features of which row n holds n: at 25 frames a second frame t hears 2 t."""
    return {"encoded_audio_all_layers": [torch.arange(float(rows))[None, :, None].expand(1, rows, 40)], "encoder": "log_mel_40"}


def numbered(frames: int) -> Tensor:
    """IMAGE of flat greys, frame t of value t / 100."""
    return (torch.arange(frames) / 100).view(-1, 1, 1, 1).expand(frames, SIDE, SIDE, 3)


def made(node, vae, length: int = 9, pose_mode: dict = FREE, continue_from: dict = FROM_NOTHING, **inputs):
    return node.execute(TEXT, TEXT, vae, voice(), SIDE, SIDE, length, FPS, pose_mode, continue_from, **inputs).result


def tensor_of(conditioning: list, key: str) -> Tensor:
    return conditioning[0][1]["model_conds"][key].cond


def test_a_continued_clip_takes_voice_pose_and_gate_from_its_place(pack, node, vae, keys) -> None:
    """Twelve frames are there and the clip begins with the last five of them: with frame 7 of the film."""
    film, start, overlap = torch.rand(12, SIDE, SIDE, 3), 7, 5
    dropout = np.linspace(1, 0, 41, dtype=np.float32)
    gate = pack("apoavatar_core.refocusing").Gate(1 - dropout, 1 - dropout, dropout)
    positive, _, latent, trim_image, *rate = made(
        node, vae,
        pose_mode={"pose_mode": "refocused", "pose": numbered(41), "gate": gate},
        continue_from={"continue_from": "previous_frames", "previous_frames": film, "motion_frames": overlap},
    )  # fmt: skip
    pose = tensor_of(positive, keys.POSE)[0].unflatten(0, (4, 3)).mean((1, 3, 4))
    weights = tensor_of(positive, keys.POSE_GATE)[0]
    heard = tensor_of(positive, keys.AUDIO)[0, :, :, 0]
    for latent_frame in range(3):
        for place in range(4):
            frame = max(start + 4 * latent_frame - 3 + place, start)
            assert pose[place, latent_frame] == pytest.approx(frame / 100)
            assert weights[place, latent_frame] == pytest.approx(1 - dropout[frame])
        assert heard[:, latent_frame].tolist() == [2.0 * (start + 4 * latent_frame - 5 + row) for row in range(8)]
    assert torch.equal(tensor_of(positive, keys.MOTION), vae.encode(film[-overlap:]))
    assert trim_image == overlap and latent["samples"].shape == (1, 16, 3, SIDE // 8, SIDE // 8)
    assert rate == [9, FPS]


def test_a_clip_that_begins_a_film_has_nothing_to_trim(node, vae, keys) -> None:
    positive, _, _, trim_image, *_ = made(node, vae)
    assert trim_image == 0 and keys.MOTION not in positive[0][1]["model_conds"]


def test_the_speaking_prompt_stands_behind_the_text_where_clip_is_connected(pack, node, vae, clip) -> None:
    prompt = pack("apoavatar_core.speaking_prompt").SPEAKING_PROMPT

    def encoded(text: str) -> Tensor:
        return clip.encode_from_tokens_scheduled(clip.tokenize(text))[0][0]

    def words(text: Tensor) -> Tensor:
        return text[0, text[0].abs().sum(-1) > 0]

    captions = [[[encoded(text), {}]] for text in ("a woman in a red coat", "blurred")]
    settings = (vae, voice(), SIDE, SIDE, 5, FPS, FREE, FROM_NOTHING)
    positive, negative, *_ = node.execute(*captions, *settings, clip=clip).result
    spoken = torch.cat([words(captions[0][0][0]), words(encoded(prompt))])
    assert torch.equal(words(positive[0][0]), spoken) and len(words(encoded(prompt))) > 10
    assert torch.equal(negative[0][0], captions[1][0][0])
    silent, *_ = node.execute(*captions, *settings).result
    assert torch.equal(silent[0][0], captions[0][0][0])


@torch.inference_mode()
def test_the_sampler_is_the_native_nodes_wired_by_hand(pack, node, clip) -> None:
    from comfy_extras.nodes_custom_sampler import BasicScheduler, KSamplerSelect, RandomNoise, SamplerCustomAdvanced
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    import nodes

    model, clip, vae, _ = nodes.NODE_CLASS_MAPPINGS["ApoAvatarLoadModels"].execute({"preset": "tiny"}).result
    texts = [nodes.CLIPTextEncode().encode(clip, text)[0] for text in ("a person", "")]
    settings = (vae, voice(), SIDE, SIDE, 5, FPS, FREE, FROM_NOTHING)
    positive, negative, latent, *_ = node.execute(*texts, *settings, torch.rand(1, SIDE, SIDE, 3)).result
    scales = (2.0, 1.5, 3.0, 1.0)
    chosen = {"seed": 7, "steps": 3, "shift": 5.0, "sampler_name": "dpmpp_2m", "scheduler": "beta"}

    def output(**changed):
        execute = nodes.NODE_CLASS_MAPPINGS["ApoAvatarSampler"].execute
        return execute(model, positive, negative, *scales, latent, **(chosen | changed))

    def ours(**changed) -> Tensor:
        return output(**changed).result[0]["samples"]

    (shifted,) = ModelSamplingSD3().patch(model, 5.0)
    guided = nodes.NODE_CLASS_MAPPINGS["ApoAvatarDecoupledCFGGuider"].execute(shifted, positive, negative, *scales)
    (guider,) = guided.result
    (noise,), (sampler,) = RandomNoise.execute(7).result, KSamplerSelect.execute("dpmpp_2m").result
    (sigmas,) = BasicScheduler.execute(shifted, "beta", 3, 1.0).result
    by_hand = SamplerCustomAdvanced.execute(noise, guider, sampler, sigmas, latent).result[0]["samples"]
    assert torch.equal(ours(), by_hand)
    for change in ({"seed": 8}, {"steps": 4}, {"shift": 2.0}, {"sampler_name": "euler"}, {"scheduler": "simple"}):
        assert not torch.equal(ours(**change), by_hand), f"{change} must matter"

    for said in (guided, output(steps=1)):
        assert "The clip is 32×32 and the adapter was trained on 128×128" in " ".join(said.ui["text"])
    untrained_size = pack("apoavatar_core.comfyui.attaching").untrained_size
    assert untrained_size(model, [[None, {pack("apoavatar_core.comfyui.conditions").CLIP_SIZE: (128, 128)}]]) == []
    assert untrained_size(model, TEXT) == []


def test_every_input_says_what_it_is_for(comfy) -> None:
    import nodes

    def untold(inputs: dict, prefix: str) -> list[str]:
        found = []
        for name, (_, *more) in {**inputs.get("required", {}), **inputs.get("optional", {})}.items():
            options = more[0] if more else {}
            found += [] if options.get("tooltip") else [prefix + name]
            if isinstance(options.get("options"), list):
                nested = (option for option in options["options"] if isinstance(option, dict))
                found += [more for option in nested for more in untold(option["inputs"], f"{prefix}{name}.")]
        return found

    ours = {name: found for name, found in nodes.NODE_CLASS_MAPPINGS.items() if name.startswith("ApoAvatar")}
    assert len(ours) >= 8
    assert [name for node_id, found in ours.items() for name in untold(found.INPUT_TYPES(), f"{node_id}.")] == []


@pytest.mark.parametrize(
    ("seconds", "start", "frames", "left_out"),
    [(1.0, 0, 25, ""), (82.0, 0, 81, "The voice lasts 82.0 s and this clip goes up to 3.4 s"), (82.0, 1920, 49, "")],
    ids=["short", "longer than a window", "its end"],
)
def test_length_0_is_what_is_left_of_the_voice_up_to_a_window(pack, seconds, start, frames, left_out):
    node, Voice = pack("nodes.conditioning"), pack("apoavatar_core.conditioning.voice").Voice
    voice = Voice((torch.zeros(round(seconds * 50), 1),), 50, torch.zeros(1), "any")
    length = node.length_for(0, voice, 24.0, start)
    assert length == frames
    film = pack("apoavatar_core.comfyui.film").Film(None, voice, None, None, 128, 128, 24.0, 81, start)
    said = node.changes_to(0, film, length)
    assert [sentence.split(":")[0] for sentence in said] == ([left_out] if left_out else [])


def grey_at(seconds: float) -> float:
    return 0.1 + 0.4 * seconds


def film_of_greys(path, begins: np.ndarray):
    """A lossless film that shows at each moment the grey of that moment, in pictures that begin at these times."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1000, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt, stream.time_base = SIDE, SIDE, "yuv444p", Fraction(1, 1000)
        for begin in begins:
            grey = np.full((SIDE, SIDE, 3), round(255 * grey_at(begin)), np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
            frame.pts, frame.time_base = round(1000 * begin), stream.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def shown_greys(node, vae, keys, pose_mode: dict, frames: int = 33) -> np.ndarray:
    """What the model sees of a pose in each frame of the clip, [frames]."""
    pose = tensor_of(made(node, vae, frames, {"pose_mode": "hard"} | pose_mode)[0], keys.POSE)[0]
    by_place = pose.unflatten(0, (4, 3)).mean((1, 3, 4))
    return torch.cat([by_place[-1:, 0], by_place[:, 1:].T.flatten()]).numpy()


@pytest.mark.parametrize("rate", [12, 24, 30, 48, 60, "variable"])
def test_a_pose_film_is_followed_by_its_own_time(node, vae, keys, tmp_path, rate) -> None:
    from comfy_api.latest import InputImpl

    gaps = np.random.default_rng(0).choice([0.02, 0.05, 0.09], 36) if rate == "variable" else np.full(2 * rate, 1 / rate)
    film_of_greys(tmp_path / "film.mkv", np.cumsum(gaps) - gaps[0])
    greys = shown_greys(node, vae, keys, {"pose": InputImpl.VideoFromFile(str(tmp_path / "film.mkv"))})
    # Half of the film's longest frame, and a step of eight bits.
    off = np.abs(greys - grey_at(np.arange(33) / FPS))
    assert off.max() <= 0.4 * gaps.max() / 2 + 0.006


@pytest.mark.parametrize("rate", [10.0, 50.0])
def test_pose_frames_of_another_rate_are_brought_to_the_clips(node, vae, keys, rate) -> None:
    greys = grey_at(torch.arange(round(2 * rate)) / rate).view(-1, 1, 1, 1).expand(-1, SIDE, SIDE, 3)
    off = np.abs(shown_greys(node, vae, keys, {"pose": greys, "pose_fps": rate}) - grey_at(np.arange(33) / FPS))
    assert off.max() <= 0.4 / rate / 2 + 1e-5


def presenter() -> Tensor:
    """The workflows' portrait as IMAGE [1, 512, 512, 3]."""
    return torch.from_numpy(cv2.imread(str(PRESENTER))[..., ::-1].copy()).float()[None] / 255


def beside(wall: float, before: int, after: int, picture: Tensor) -> Tensor:
    """A picture between two walls."""
    return torch.cat([torch.full((1, 512, width, 3), wall) if width else picture for width in (before, 0, after)], 2)


def fit(pack, vae, image: Tensor, width: int = 128, height: int = 128, how: str = "keep person"):
    return pack("apoavatar_core.comfyui.portraits").fit_portrait(image, width, height, how, vae)


def test_a_portrait_of_the_clips_shape_stays_and_nobody_is_looked_for(pack, vae, node, monkeypatch, tmp_path) -> None:
    import comfy.utils

    for detector in ("MEDIAPIPE", "TINY_POSE"):
        monkeypatch.setattr(pack("apoavatar_core.comfyui.portraits"), detector, tmp_path / "none.safetensors")
    small = comfy.utils.common_upscale(presenter().movedim(-1, 1), 128, 128, "bilinear", "center").movedim(1, -1)
    for how, portrait in (("keep person", small), ("keep person", presenter()), ("pad", presenter())):
        found = fit(pack, vae, portrait, how=how)
        assert torch.equal(found.image, small) and found.said == []
    wide = presenter()[:, :256]
    native = comfy.utils.common_upscale(wide.movedim(-1, 1), 128, 128, "bilinear", "center").movedim(1, -1)
    assert torch.equal(fit(pack, vae, wide, how="centre").image, native)
    film = torch.cat([small[:, :SIDE, :SIDE], torch.full((8, SIDE, SIDE, 3), 0.5)])
    positive, *_ = made(node, vae, reference_image=small[:, :SIDE, :SIDE])
    assert torch.equal(positive[0][1]["concat_latent_image"], vae.encode(film))


def test_a_wide_portrait_shows_its_person_and_the_pose_of_its_shape_goes_with_it(pack, node, vae, keys) -> None:
    """The presenter 1200 pixels from the left of a long wall."""
    portrait = beside(0.5, 1200, 600, presenter())
    found = fit(pack, vae, portrait)
    assert abs(found.crop.left - 1200) < 60 and found.crop.shown == (512, 512)
    assert [sentence for sentence in found.said if "cut round the person" in sentence]
    assert not fit(pack, vae, portrait, how="pad").crop.is_middle

    keypoints, room = pack("apoavatar_core.pose.keypoints"), pack("nodes.conditioning")
    person = keypoints.PersonKeypoints.nobody()
    arm = (found.crop.left + 128) / 2312
    person.body[3], person.body[4] = (arm, 0.2, 1), (arm, 0.8, 1)
    pose = [keypoints.to_frame(person, 2312, 512)] * 5
    render, shape = pack("nodes.pose").RenderPose.execute, pack("apoavatar_core.conditioning.clip").ClipShape(128, 128, 5, FPS)

    def seen(pose_film, **more):
        film = room.pose_in({"pose_mode": "hard", "pose": pose_film, **more}, FPS, found.crop)
        return pack("apoavatar_core.comfyui.clip_values").pose_of(film, shape)

    as_keypoints = seen(pose, reference_pose=pose[0])
    lit = as_keypoints.frames[0].amax(-1).nonzero().float()
    assert lit[:, 1].mean() == pytest.approx(32, abs=2) and lit[:, 0].mean() == pytest.approx(64, abs=4)
    assert torch.equal(as_keypoints.reference[0], as_keypoints.frames[0])
    torch.testing.assert_close(as_keypoints.frames, seen(render(pose, 2312, 512).result[0]).frames, atol=0.3, rtol=0)
    # A pose of the clip's own shape is not the portrait's: it stays where it is.
    (square,) = render([keypoints.to_frame(person, 128, 128)], 128, 128).result
    assert torch.equal(seen(square).frames[:1], square)
    mode = {"pose_mode": "hard", "pose": pose}
    positive, *_ = node.execute(TEXT, TEXT, vae, voice(), 128, 128, 5, FPS, mode, FROM_NOTHING, reference_image=portrait).result
    assert torch.equal(tensor_of(positive, keys.POSE)[0, :3, 0], as_keypoints.frames[0].movedim(-1, 0))
    assert torch.equal(positive[0][1]["reference_latents"][0], vae.encode(found.image))


def test_a_tall_portrait_keeps_its_head_and_a_wide_clip_gets_bars(pack, vae) -> None:
    tall = torch.cat([presenter(), presenter()[:, -1:].expand(1, 600, 512, 3)], 1)
    found = fit(pack, vae, tall)
    assert found.crop.top == 0 and not found.crop.is_padded
    wide = fit(pack, vae, presenter(), 256, 128)
    assert wide.crop.is_padded and "without bars" in wide.said[0]
    # Her picture lies between bars of one colour.
    left, right = (round((edge - wide.crop.left) * 256 / wide.crop.width) for edge in (0, 512))
    off = (wide.image[0] - wide.image[0, 0, 0]).abs().amax((0, 2))
    assert 40 < left < right < 216 and right - left > 100
    assert off[: left - 2].max() < 1e-5 and off[right + 2 :].max() < 1e-5 and off[left + 40 : right - 40].min() > 0.01
    nobody = fit(pack, vae, torch.full((1, 400, 200, 3), 0.75))
    assert nobody.crop.top == 0 and "Nobody was found" in nobody.said[0]


def test_a_portrait_that_the_model_does_not_know_is_said(node, vae, pack) -> None:
    def said(portrait: Tensor) -> str:
        return "\n".join(fit(pack, vae, portrait).said)

    assert said(presenter()) == ""
    for stranger in (torch.full((1, 128, 128, 3), 0.5), torch.rand(1, 128, 128, 3)):
        assert "does not know pictures like the portrait" in said(stranger)
    few = torch.nn.functional.interpolate(presenter().movedim(-1, 1), (16, 16), mode="area").movedim(1, -1)
    assert "16×16 pixels of the portrait are too few" in said(few)
    assert "1×1 pixels of the portrait are too few" in said(torch.full((1, 1, 1, 3), 0.75))
    output = node.execute(TEXT, TEXT, vae, voice(), 128, 128, 5, FPS, FREE, FROM_NOTHING, reference_image=torch.full((1, 1, 100, 3), 0.75))
    assert "2×1 pixels of the portrait are too few" in "\n".join(output.ui["text"])


def test_transparent_parts_of_a_portrait_lie_on_white_and_it_is_said(pack, vae) -> None:
    alpha = torch.ones(1, 512, 512, 1)
    opaque = fit(pack, vae, torch.cat([presenter(), alpha], -1))
    assert torch.equal(opaque.image, fit(pack, vae, presenter()).image) and opaque.said == []
    alpha[:, :, :100] = 0
    found = fit(pack, vae, torch.cat([presenter(), alpha], -1))
    assert "white is laid behind it" in found.said[0]
    assert (found.image[0, :, :24] == 1).all() and torch.equal(found.image[0, :, 30:], opaque.image[0, :, 30:])


class TestAFilmInThePortraitsPlace:
    """Dubbing: `source_video` has a picture a frame, of which each window shows the one that it begins with."""

    @pytest.fixture
    def source(self):
        from comfy_api.latest import InputImpl
        from comfy_api.latest._util import VideoComponents

        return InputImpl.VideoFromComponents(VideoComponents(images=numbered(20) * 5, audio=None, frame_rate=Fraction(FPS)))

    def test_each_window_begins_from_the_picture_of_its_moment(self, pack, node, vae, source) -> None:
        positive = made(node, vae, source_video=source)[0]
        film, earlier = positive[0][1]["apoavatar_film"], pack("apoavatar_core.comfyui.clip_values").Earlier
        for start, picture in ((0, 0), (8, 8), (19, 19), (40, 19)):
            expected = made(node, vae, reference_image=(numbered(20) * 5)[picture : picture + 1])[0][0][1]["concat_latent_image"]
            found = film.clip(9, earlier(start=start)).values["concat_latent_image"]
            torch.testing.assert_close(found, expected)
        assert not torch.equal(film.clip(9).values["concat_latent_image"], expected)

    def test_a_film_and_a_portrait_are_one_too_many(self, node, vae, source) -> None:
        with pytest.raises(ValueError, match="connect one of them"):
            made(node, vae, source_video=source, reference_image=numbered(1))

    def test_a_shorter_film_is_said(self, node, vae, source) -> None:
        said = node.execute(TEXT, TEXT, vae, voice(), SIDE, SIDE, 9, FPS, FREE, FROM_NOTHING, source_video=source).ui
        assert "source_video lasts 0.8 s and the voice 4.0 s: from there on its last picture stays." in " ".join(said["text"])


@pytest.mark.parametrize(("choice", "first", "last"), [({}, 6, 6), ({"pose_when_short": "loop"}, 5, 3)])
def test_a_short_pose_film_is_held_or_looped_as_chosen(pack, node, vae, keys, tmp_path, choice, first, last) -> None:
    """A VIDEO of seven frames: from frame 31 of the film on it is on its way back, or forth again."""
    from comfy_api.latest import InputImpl, Types

    # Greys far enough apart for H.264.
    components = Types.VideoComponents(images=numbered(7) * 10, audio=None, frame_rate=Fraction(FPS))
    InputImpl.VideoFromComponents(components).save_to(str(tmp_path / "pose.mp4"))
    pose = {"pose_mode": "hard", "pose": InputImpl.VideoFromFile(str(tmp_path / "pose.mp4"))}
    film = made(node, vae, pose_mode=pose, **choice)[0][0][1]["apoavatar_film"]
    earlier = pack("apoavatar_core.comfyui.clip_values").Earlier(start=31)
    shown = film.clip(9, earlier).tensors[keys.POSE][0].unflatten(0, (4, 3)).mean((1, 3, 4)).T.flatten()[3:]
    # Period 12: 31 is 7, which shows 5; 39 is 3.
    assert (shown[0] * 10).round() == first and (shown[-1] * 10).round() == last
