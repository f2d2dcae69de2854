"""The adapter against the paper's equations written out in loops."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from apoavatar_core.adapters import AdapterConfig, ApoAvatarAdapter
from apoavatar_core.adapters.attention import frame_wise_attention, scaled_dot_product
from apoavatar_core.adapters.audio_dit import AudioDiTAdapter
from apoavatar_core.adapters.audio_injection import AudioInjection
from apoavatar_core.adapters.audio_projection import AudioProjection
from apoavatar_core.adapters.interaction import InteractionScheme
from apoavatar_core.adapters.pose_adapter import PoseAdapter, group_by_latent_frame
from apoavatar_core.adapters.unianimate_pose import UniAnimatePose
from apoavatar_core.conditioning.voice import latent_frame_windows
from benchmarks import measuring

CLOSE = {"atol": 1e-5, "rtol": 0}
VIDEO_DIM, AUDIO_DIM, HEADS = 12, 8, 2
STRIDE, PATCH = 4, 2
CONFIG = AdapterConfig(
    backbone_dim=VIDEO_DIM,
    backbone_layers=2,
    backbone_in_channels=20,
    heads=HEADS,
    audio_encoder="test",
    audio_feature_dim=3,
    audio_dim=AUDIO_DIM,
    tokens_per_frame=2,
    pose_channels=4,
    fps=24.0,
    window=17,
    vae_stride=STRIDE,
    patch=PATCH,
    normalized_pose=True,
    keys_know_places=True,
)


def random_tensor(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def with_random_weights(module: nn.Module, seed: int = 0) -> nn.Module:
    """No weight of the module is zero, one or uninitialised afterwards."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator))
    return module


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Softmax attention of [N_q, d] on [N_k, d], one head and one query at a time."""
    width = query.shape[-1] // heads
    result = torch.zeros_like(query)
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        for n in range(query.shape[0]):
            scores = torch.stack([query[n, part] @ k / math.sqrt(width) for k in key[:, part]])
            weights = torch.exp(scores - scores.max())
            result[n, part] = (weights[:, None] * value[:, part]).sum(0) / weights.sum()
    return result


def layer_norm(x: Tensor, weight: Tensor | float = 1.0, bias: Tensor | float = 0.0) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight + bias


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


# --- frame-wise attention

shapes = st.tuples(*[st.integers(1, 4)] * 4)


@given(shapes, st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_frame_wise_attention_is_a_loop_over_frames(shape: tuple[int, int, int, int], seed: int) -> None:
    batch, frames, queries, keys = shape
    query = random_tensor(batch, frames, queries, AUDIO_DIM, seed=seed)
    key, value = random_tensor(2, batch, frames, keys, AUDIO_DIM, seed=seed + 1)
    found = frame_wise_attention(query, key, value, HEADS, scaled_dot_product)
    for b in range(batch):
        for t in range(frames):
            torch.testing.assert_close(found[b, t], attend(query[b, t], key[b, t], value[b, t], HEADS), **CLOSE)


@given(shapes, st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_frame_wise_attention_is_dense_attention_under_a_block_diagonal_mask(
    shape: tuple[int, int, int, int], seed: int
) -> None:
    batch, frames, queries, keys = shape
    query = random_tensor(batch, frames, queries, AUDIO_DIM, seed=seed)
    key, value = random_tensor(2, batch, frames, keys, AUDIO_DIM, seed=seed + 1)
    found = frame_wise_attention(query, key, value, HEADS, scaled_dot_product)

    def split_heads(x: Tensor) -> Tensor:
        return x.flatten(1, 2).unflatten(-1, (HEADS, -1)).transpose(1, 2)

    same_frame = torch.arange(frames).repeat_interleave(queries)[:, None] == torch.arange(frames).repeat_interleave(keys)
    dense = nn.functional.scaled_dot_product_attention(*map(split_heads, (query, key, value)), attn_mask=same_frame)
    torch.testing.assert_close(found, dense.transpose(1, 2).flatten(2).unflatten(1, (frames, queries)), **CLOSE)


# --- Audio DiT adapter


def place(y: int, x: int) -> Tensor:
    """[AUDIO_DIM]: two cosines before two sines of y, then of x."""
    periods = (1, 100)
    return torch.tensor([wave(number / period) for number in (y, x) for wave in (math.cos, math.sin) for period in periods])


@pytest.mark.parametrize("places", [False, True])
def test_audio_dit_adapter_is_equations_5_and_6(places: bool) -> None:
    adapter = with_random_weights(AudioDiTAdapter(AUDIO_DIM, VIDEO_DIM, HEADS, nn, places=places))
    rows, columns = 2, 3
    audio, video = random_tensor(2, 3, 4, AUDIO_DIM), random_tensor(2, 3, rows * columns, VIDEO_DIM, seed=1)
    timestep = torch.tensor([0.0, 731.5])
    found = adapter(audio, video, timestep, scaled_dot_product, (rows, columns))
    where = torch.stack([place(y, x) for y in range(rows) for x in range(columns)])
    for b in range(2):
        angles = [timestep[b].item() / 10_000 ** (i / 128) for i in range(128)]
        embedding = torch.tensor([math.cos(angle) for angle in angles] + [math.sin(angle) for angle in angles])
        hidden = silu(adapter.time_hidden.weight @ embedding + adapter.time_hidden.bias)
        scale, shift, gate = (adapter.time_out.weight @ hidden + adapter.time_out.bias).reshape(3, AUDIO_DIM)
        for t in range(3):
            modulated = (1 + scale) * layer_norm(audio[b, t]) + shift
            keys = adapter.k(video[b, t]) + (adapter.place_scale * where if places else 0)
            context = attend(adapter.q(modulated), keys, adapter.v(video[b, t]), HEADS)
            refined = (1 + gate) * (audio[b, t] + adapter.o(context))
            # Sinusoids of angles near 1000 carry float32's error of 6e-5 rad into the modulation.
            torch.testing.assert_close(found[b, t], refined, atol=1e-5 if b == 0 else 1e-3, rtol=0)


def test_the_audio_sees_where_a_token_is_once_the_scale_of_places_grows() -> None:
    adapter = with_random_weights(AudioDiTAdapter(AUDIO_DIM, VIDEO_DIM, HEADS, nn, places=True))
    without = with_random_weights(AudioDiTAdapter(AUDIO_DIM, VIDEO_DIM, HEADS, nn))
    without.load_state_dict({name: x for name, x in adapter.state_dict().items() if name != "place_scale"})
    audio, video, timestep = random_tensor(1, 2, 4, AUDIO_DIM), random_tensor(1, 2, 6, VIDEO_DIM), torch.tensor([400.0])
    shuffled = video[:, :, [3, 0, 5, 1, 4, 2]]

    def refined(module: AudioDiTAdapter, video: Tensor) -> Tensor:
        return module(audio, video, timestep, scaled_dot_product, (2, 3))

    assert (refined(adapter, shuffled) - refined(adapter, video)).abs().max() > 1e-2
    nn.init.zeros_(adapter.place_scale)
    assert torch.equal(refined(adapter, video), refined(without, video))
    assert (refined(adapter, shuffled) - refined(adapter, video)).abs().max() < 1e-5


def test_refined_audio_of_a_frame_hears_and_sees_that_frame_alone() -> None:
    adapter = with_random_weights(AudioDiTAdapter(AUDIO_DIM, VIDEO_DIM, HEADS, nn))
    audio, video, timestep = random_tensor(1, 4, 2, AUDIO_DIM), random_tensor(1, 4, 3, VIDEO_DIM), torch.tensor([500.0])
    before = adapter(audio, video, timestep, scaled_dot_product, (1, 3))
    audio[:, 2] += 1
    video[:, 1] += random_tensor(3, VIDEO_DIM, seed=5)
    changed = (adapter(audio, video, timestep, scaled_dot_product, (1, 3)) - before).abs().amax((0, 2, 3))
    assert (changed > 1e-4).tolist() == [False, True, True, False]


# --- audio injection


def test_audio_injection_is_equation_7() -> None:
    injection = with_random_weights(AudioInjection(VIDEO_DIM, AUDIO_DIM, HEADS, nn))
    video, audio = random_tensor(2, 3, 5, VIDEO_DIM), random_tensor(2, 3, 4, AUDIO_DIM, seed=1)
    found = injection(video, audio, scaled_dot_product)
    for b in range(2):
        for t in range(3):
            query = injection.q(layer_norm(video[b, t], injection.norm.weight, injection.norm.bias))
            expected = injection.o(attend(query, injection.k(audio[b, t]), injection.v(audio[b, t]), HEADS))
            torch.testing.assert_close(found[b, t], expected, **CLOSE)


@given(st.integers(0, 4), st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_video_token_does_not_change_with_the_audio_of_another_frame(frame: int, seed: int) -> None:
    injection = with_random_weights(AudioInjection(VIDEO_DIM, AUDIO_DIM, HEADS, nn), seed)
    video, audio = random_tensor(1, 5, 3, VIDEO_DIM), random_tensor(1, 5, 2, AUDIO_DIM)
    before = injection(video, audio, scaled_dot_product)
    audio[:, frame] += random_tensor(2, AUDIO_DIM, seed=seed + 1)
    after = injection(video, audio, scaled_dot_product)
    others = [t for t in range(5) if t != frame]
    assert torch.equal(after[:, others], before[:, others])
    assert not torch.equal(after[:, frame], before[:, frame])


def test_clip_wise_injection_hears_all_frames_and_knows_their_time() -> None:
    injection = with_random_weights(AudioInjection(VIDEO_DIM, AUDIO_DIM, HEADS, nn, clip_wise=True))
    video, audio = random_tensor(2, 3, 5, VIDEO_DIM), random_tensor(2, 3, 4, AUDIO_DIM, seed=1)
    found = injection(video, audio, scaled_dot_product)

    def time(frame: int, width: int) -> Tensor:
        angles = [frame / 10_000 ** (i / (width // 2)) for i in range(width // 2)]
        return torch.tensor([*map(math.cos, angles), *map(math.sin, angles)])

    for b in range(2):
        keys = torch.cat([injection.k(audio[b, t] + time(t, AUDIO_DIM)) for t in range(3)])
        values = torch.cat([injection.v(audio[b, t]) for t in range(3)])
        for t in range(3):
            normalized = layer_norm(video[b, t], injection.norm.weight, injection.norm.bias)
            query = injection.q(normalized + time(t, VIDEO_DIM))
            torch.testing.assert_close(found[b, t], injection.o(attend(query, keys, values, HEADS)), **CLOSE)


# --- audio projection


@pytest.mark.parametrize("video_frames", [1, 5, 13])
def test_audio_tokens_are_in_the_order_of_the_video_frames(video_frames: int) -> None:
    projection = with_random_weights(AudioProjection(3, AUDIO_DIM, 2, nn))
    features = random_tensor(video_frames, 3)
    found = projection(latent_frame_windows(features)[None])[0]
    for latent_frame in range((video_frames - 1) // 4 + 1):
        for slot in range(4):
            video_frame = 4 * latent_frame - 3 + slot  # of latent frame 0 only the last slot is in the clip
            around = [min(max(video_frame + offset, 0), video_frames - 1) for offset in (-2, -1, 0, 1, 2)]
            tokens = projection.out(silu(projection.hidden(torch.cat([features[row] for row in around])))).reshape(2, -1)
            for n in range(2):
                normalized = layer_norm(tokens[n], projection.norm.weight, projection.norm.bias)
                expected = normalized + projection.position[2 * slot + n]
                torch.testing.assert_close(found[latent_frame, 2 * slot + n], expected, **CLOSE)


# --- pose adapter


def test_pose_frames_are_grouped_by_latent_frame() -> None:
    frames = torch.arange(2 * 9).reshape(2, 9, 1)
    grouped = group_by_latent_frame(frames)
    assert grouped.shape == (2, 3, 4, 1)
    for b in range(2):
        assert grouped[b, 0, :, 0].tolist() == [frames[b, 0].item()] * 4
        for latent_frame in (1, 2):
            for slot in range(4):
                assert grouped[b, latent_frame, slot] == frames[b, 4 * latent_frame - 3 + slot]


@pytest.mark.parametrize("count", [0, 2, 4, 7])
def test_pose_frames_that_do_not_fill_latent_frames_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"{count} pose frames"):
        group_by_latent_frame(torch.zeros(1, count))


def pose_adapter(seed: int = 0) -> PoseAdapter:
    return with_random_weights(PoseAdapter(4, VIDEO_DIM, STRIDE, PATCH, nn), seed)


def pose_input(video_frames: int = 13, height: int = 16, width: int = 24) -> Tensor:
    """Frames [1, 12, T_lat, H, W] as the adapter takes them."""
    grouped = group_by_latent_frame(random_tensor(1, video_frames, 3, height, width).sigmoid())
    return grouped.permute(0, 2, 3, 1, 4, 5).flatten(1, 2)


def grouped_gate(gate: Tensor) -> Tensor:
    """[T] → [1, 4, T_lat]."""
    return group_by_latent_frame(gate[None])[0].T[None]


def test_pose_prior_has_the_token_grid() -> None:
    assert pose_adapter()(pose_input(), torch.ones(1, 4, 4)).shape == (1, 4, 2 * 3, VIDEO_DIM)


@given(st.integers(0, 12), st.floats(0, 1, width=32), st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_gate_of_a_pose_frame_changes_its_own_latent_frame_alone(frame: int, weight: float, seed: int) -> None:
    adapter, frames = pose_adapter(seed), pose_input()
    gate = torch.linspace(1.1, 1.9, 13)
    before = adapter(frames, grouped_gate(gate))
    gate[frame] = weight
    changed = (adapter(frames, grouped_gate(gate)) != before).any(-1).any(-1)[0]
    assert changed.nonzero().flatten().tolist() == [math.ceil(frame / 4)]


@given(st.integers(0, 12), st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_pose_frame_changes_its_own_latent_frame_alone(frame: int, seed: int) -> None:
    adapter, gate = pose_adapter(seed), torch.ones(1, 4, 4)
    video = random_tensor(1, 13, 3, 16, 16).sigmoid()
    other = video.clone()
    other[:, frame] = 1 - other[:, frame]
    before, after = (
        adapter(group_by_latent_frame(v).permute(0, 2, 3, 1, 4, 5).flatten(1, 2), gate) for v in (video, other)
    )
    assert (before != after).any(-1).any(-1)[0].nonzero().flatten().tolist() == [math.ceil(frame / 4)]


@given(st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_gate_of_zero_adds_exactly_nothing(seed: int) -> None:
    assert not pose_adapter(seed)(pose_input(), torch.zeros(1, 4, 4)).any()


def test_gated_out_pose_frame_may_hold_anything() -> None:
    adapter, frames = pose_adapter(), pose_input()
    gate = torch.ones(1, 4, 4)
    gate[0, 1, 2] = 0
    before = adapter(frames, gate)
    frames[:, 3:6, 2] = 1 - frames[:, 3:6, 2]
    assert torch.equal(adapter(frames, gate), before)


def normalized_pose_adapter() -> tuple[PoseAdapter, PoseAdapter]:
    """One that normalises, and one with the same weights that does not."""
    normalized = with_random_weights(PoseAdapter(4, VIDEO_DIM, STRIDE, PATCH, nn, normalized=True))
    return normalized, pose_adapter()


@given(st.sets(st.integers(0, 3), min_size=1), st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_a_normalised_prior_is_in_proportion_to_the_frames_that_are_kept(kept: set[int], seed: int) -> None:
    normalized, plain = normalized_pose_adapter()
    pictures = random_tensor(4, 3, 16, 24, seed=seed).sigmoid()
    gate = torch.tensor([float(frame in kept) for frame in range(4)])

    def prior(adapter: PoseAdapter, pictures: Tensor, gate: Tensor) -> Tensor:
        return adapter(pictures.reshape(1, 12, 1, 16, 24), gate[None, :, None])

    # Embeddings of the dropped frames are the mean of the others': the same picture where only one is kept.
    still = pictures[:1].expand(4, -1, -1, -1)
    everything = prior(plain, still, torch.ones(4))
    torch.testing.assert_close(prior(normalized, still, gate), len(kept) / 4 * everything, **CLOSE)
    alone = min(kept)
    seen_alone = prior(normalized, pictures, torch.eye(4)[alone])
    same_picture = pictures[alone : alone + 1].expand(4, -1, -1, -1)
    torch.testing.assert_close(seen_alone, prior(plain, same_picture, torch.ones(4)) / 4, **CLOSE)

    whole = prior(plain, pictures, torch.ones(4))
    torch.testing.assert_close(prior(normalized, pictures, torch.ones(4)), whole, **CLOSE)
    torch.testing.assert_close(prior(normalized, pictures, torch.full((4,), 0.3)), 0.3 * whole, **CLOSE)
    assert not prior(normalized, pictures, torch.zeros(4)).any()
    dropped = torch.where(gate[:, None, None, None] > 0, pictures, 1 - pictures)
    assert torch.equal(prior(normalized, dropped, gate), prior(normalized, pictures, gate))


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    """[C, H, W] → [C', H', W'], one place at a time."""
    padded = torch.zeros(x.shape[0], x.shape[1] + 2 * padding, x.shape[2] + 2 * padding)
    padded[:, padding : padding + x.shape[1], padding : padding + x.shape[2]] = x
    side = weight.shape[-1]
    rows, columns = ((length - side) // stride + 1 for length in padded.shape[1:])
    out = torch.zeros(weight.shape[0], rows, columns)
    for row in range(rows):
        for column in range(columns):
            seen = padded[:, row * stride : row * stride + side, column * stride : column * stride + side]
            out[:, row, column] = (weight * seen).sum((1, 2, 3)) + (0 if bias is None else bias)
    return out


@torch.no_grad()
def test_pose_prior_is_frames_embedded_singly_gated_and_merged() -> None:
    """One of its frames is closed, and there are more latent frames than are embedded at once."""
    adapter, count, height, width = pose_adapter(), 17, 8, 16
    video, gate = random_tensor(count, 3, height, width).sigmoid(), random_tensor(count, seed=1).sigmoid()
    gate[6] = 0
    found = adapter(group_by_latent_frame(video[None]).permute(0, 2, 3, 1, 4, 5).flatten(1, 2), grouped_gate(gate))

    gated = []
    for frame, weight in zip(video, gate):
        for layer in adapter.embed:
            frame = silu(conv2d(frame, layer.weight, layer.bias, stride=2, padding=1))
        gated.append(weight * frame)
    for latent_frame in range((count - 1) // 4 + 1):
        four = [gated[max(4 * latent_frame - 3 + slot, 0)] for slot in range(4)]
        merged = silu(conv2d(torch.cat(four), adapter.merge.weight, None, stride=1, padding=1))
        tokens = conv2d(merged, adapter.tokens.weight, None, stride=PATCH, padding=0)
        for row in range(height // STRIDE // PATCH):
            for column in range(width // STRIDE // PATCH):
                token = found[0, latent_frame, row * (width // STRIDE // PATCH) + column]
                torch.testing.assert_close(token, tokens[:, row, column], atol=1e-5, rtol=1e-4)


POSE_MODELS = {
    "own": lambda: PoseAdapter(16, VIDEO_DIM, 8, PATCH, nn),
    "UniAnimate": lambda: UniAnimatePose(VIDEO_DIM, 4, nn),
}


@torch.no_grad()
@pytest.mark.parametrize("latent_frames", [1, 3, 21])
@pytest.mark.parametrize("make", POSE_MODELS.values(), ids=POSE_MODELS)
def test_embedding_a_pose_holds_no_more_memory_than_it_says(make, latent_frames: int) -> None:
    # Of a batch of one PyTorch would make a matrix of patches on one CPU thread.
    adapter, frames = with_random_weights(make()), random_tensor(2, 12, latent_frames, 64, 64).double()
    gate = torch.ones(2, 4, latent_frames)
    said = 4 * adapter.numbers_to_merge(frames.shape)
    held = measuring.peak_bytes(lambda: adapter.merged(frames, gate, dtype=torch.float32), torch.device("cpu"))
    assert 0.5 * said < held <= said


# --- the whole adapter


def adapted(adapter: ApoAvatarAdapter, seed: int = 0) -> Tensor:
    """Video tokens [2, 3, N_v, d] after the pose prior and the audio of every block."""
    video = random_tensor(2, 3, 4, VIDEO_DIM, seed=seed)
    frames = random_tensor(2, 12, 3, 16, 16, seed=seed + 1).sigmoid()
    video = video + adapter.pose_adapter(frames, random_tensor(2, 4, 3, seed=seed + 2).sigmoid())
    rows = random_tensor(2, 8, 3, 3, seed=seed + 3)
    audio = adapter.refined_audio(rows, video, torch.tensor([10.0, 900.0]), scaled_dot_product, (2, 2))
    for injection in adapter.injections:
        video = video + injection(video, audio, scaled_dot_product)
    return video


schemes = pytest.mark.parametrize("scheme", InteractionScheme)


@schemes
def test_initial_adapter_leaves_the_video_as_it_is(scheme: InteractionScheme) -> None:
    adapter = ApoAvatarAdapter(replace(CONFIG, interaction=scheme.value))
    adapter.initialize()
    assert torch.equal(adapted(adapter), random_tensor(2, 3, 4, VIDEO_DIM))


@schemes
def test_each_interaction_scheme_hears_and_refines_what_it_says(scheme: InteractionScheme) -> None:
    adapter = with_random_weights(ApoAvatarAdapter(replace(CONFIG, interaction=scheme.value)))
    rows, video = random_tensor(1, 8, 3, 3), random_tensor(1, 3, 4, VIDEO_DIM)

    def hear(rows: Tensor, timestep: float) -> tuple[Tensor, Tensor]:
        audio = adapter.refined_audio(rows, video, torch.tensor([timestep]), scaled_dot_product, (2, 2))
        return audio, adapter.injections[0](video, audio, scaled_dot_product)

    audio, heard = hear(rows, 500.0)
    refines = scheme in (InteractionScheme.AUDIO_DIT, InteractionScheme.BOTH)
    assert torch.equal(audio, adapter.audio_projection(rows)) is not refines
    assert torch.equal(audio, hear(rows, 100.0)[0]) is not refines
    other = rows.clone()
    other[:, :, 1] += 1
    changed = (hear(other, 500.0)[1] != heard).any(-1).any(-1)[0].tolist()
    frame_wise = scheme in (InteractionScheme.FRAME_WISE, InteractionScheme.BOTH)
    assert changed == ([False, True, False] if frame_wise else [True, True, True])


def test_initial_audio_dit_adapter_passes_the_audio_on() -> None:
    adapter = ApoAvatarAdapter(CONFIG)
    adapter.initialize()
    rows, video = random_tensor(1, 8, 3, 3), random_tensor(1, 3, 4, VIDEO_DIM)
    refined = adapter.refined_audio(rows, video, torch.tensor([300.0]), scaled_dot_product, (2, 2))
    assert torch.equal(refined, adapter.audio_projection(rows))


def test_initial_adapter_is_finite_and_learns_from_its_last_layers() -> None:
    adapter = ApoAvatarAdapter(CONFIG)
    adapter.initialize()
    assert all(torch.isfinite(parameter).all() for parameter in adapter.parameters())
    (adapted(adapter) * random_tensor(2, 3, 4, VIDEO_DIM, seed=9)).sum().backward()
    last_layers = [adapter.pose_adapter.tokens.weight, *(injection.o.weight for injection in adapter.injections)]
    assert all(layer.grad.abs().max() > 1e-4 for layer in last_layers)


@schemes
def test_gradients_reach_every_parameter(scheme: InteractionScheme) -> None:
    adapter = with_random_weights(ApoAvatarAdapter(replace(CONFIG, interaction=scheme.value)))
    (adapted(adapter) * random_tensor(2, 3, 4, VIDEO_DIM, seed=9)).sum().backward()
    for name, parameter in adapter.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        # A softmax does not see what is added to all of its keys alike.
        assert name.endswith("k.bias") or parameter.grad.abs().max() > 1e-6, name


@given(st.integers(1, 3), st.sampled_from([2, 4, 8]), st.sampled_from([1, 2]))
@settings(max_examples=8, deadline=None)
def test_adapter_follows_its_configuration(tokens_per_frame: int, stride: int, patch: int) -> None:
    config = replace(CONFIG, tokens_per_frame=tokens_per_frame, vae_stride=stride, patch=patch)
    adapter = with_random_weights(ApoAvatarAdapter(config))
    assert adapter.audio_projection(random_tensor(1, 8, 2, 3)).shape == (1, 2, 4 * tokens_per_frame, AUDIO_DIM)
    side = 16 // stride // patch
    prior = adapter.pose_adapter(random_tensor(1, 12, 2, 16, 16), torch.ones(1, 4, 2))
    assert prior.shape == (1, 2, side * side, VIDEO_DIM)
