"""What `evaluation losses` says a condition is worth, against the loss of training and against models changed by hand."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch


@pytest.fixture
def losses(training):
    from apoavatar_core.evaluation import losses

    return losses


@pytest.fixture
def model(config, prepared):
    """A model whose every layer acts."""
    from apoavatar_core.data.prepared import PreparedClips
    from apoavatar_core.training.model import build_model

    model = build_model(config, PreparedClips(prepared))
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


@pytest.fixture
def lines(losses, model, prepared):
    """Each case's line by (question, case), from one draw of noise."""
    from apoavatar_core.data.prepared import PreparedClips

    return {(line.case.question, line.case.title): line for line in losses.measure(model, PreparedClips(prepared), draws=1)}


def test_a_case_s_loss_is_the_training_s(losses, model, prepared) -> None:
    from apoavatar_core.data.prepared import PreparedClips
    from apoavatar_core.training.examples import Batch, ExampleSource

    clips = PreparedClips(prepared)
    case = next(case for case in losses.CASES if (case.question, case.title) == ("pose in S4", "soft gate"))
    source, wanted = ExampleSource(clips, case.conditions, losses.SHIFT, seed=0), torch.zeros(4)
    for position in range(8):
        with torch.no_grad():
            wanted[source.clip_at(position, 3)] += model(Batch.stack([source.example(position, 3)])) / 2
    torch.testing.assert_close(losses.clip_losses(model, clips, case, draws=2), wanted)


def test_a_caption_s_worth_is_counted_against_another_s_and_none(losses, model, prepared, lines) -> None:
    from apoavatar_core.data.prepared import PreparedClips

    clips = PreparedClips(prepared)
    titles = ("right", "right, speaking", "another clip's", "none")
    assert len({lines["text in S1", title].loss for title in titles}) == 4
    nothing = replace(losses.CASES[0], state="S0", caption=losses.none)
    assert lines["text in S1", "none"].loss == pytest.approx(float(losses.clip_losses(model, clips, nothing, 1).mean()))
    same = clips.clip(0, 3)["text"]
    clips.clip = lambda *place, clip=clips.clip: clip(*place) | {"text": same}
    cases = {case.title: case for case in losses.CASES if case.question == "text in S1"}
    alike = [losses.clip_losses(model, clips, cases[title], draws=1) for title in ("right", "another clip's")]
    assert torch.equal(*alike) and alike[0].mean() != lines["text in S1", "right"].loss


def test_the_refined_audio_s_worth_is_counted_as_in_a_model_without(losses, model, prepared, lines) -> None:
    from apoavatar_core.data.prepared import PreparedClips
    from apoavatar_core.training.model import FlowMatching

    clips, found = PreparedClips(prepared), {title: lines["refined audio in S4", title] for title in ("as it is", "C = 0")}
    # Built anew: a copied model's hooks would still call the first one's adapter.
    silent = FlowMatching(copy.deepcopy(model.dit), copy.deepcopy(model.adapter), model.loss)
    silent.adapter.audio_dit.o.weight.data.zero_()
    silent.adapter.audio_dit.o.bias.data.zero_()
    assert found["C = 0"].loss != found["as it is"].loss
    cases = {case.title: case for case in losses.CASES if case.question == "refined audio in S4"}
    by_hand = losses.clip_losses(silent, clips, cases["as it is"], draws=1)
    assert found["C = 0"].loss == pytest.approx(float(by_hand.mean()))

    shuffled = lines["refined audio in S4", "tokens shuffled"]
    assert abs(shuffled.more) > 1e-7, "keys know their places"
    model.adapter.audio_dit.place_scale.data.zero_()
    ordered, mixed = (losses.clip_losses(model, clips, cases[title], draws=1) for title in ("as it is", "tokens shuffled"))
    torch.testing.assert_close(ordered, mixed)


def test_attention_spread_evenly_gives_words_their_part(training) -> None:
    from apoavatar_core.comfyui import trainable
    from apoavatar_core.comfyui.text_attention import attention_on_words

    dit = trainable.new_dit({"dim": 64, "ffn_dim": 128, "num_heads": 2, "num_layers": 2}, text_dim=8, text_len=10)
    texts = torch.randn(2, 10, 8)
    texts[0, 4:], texts[1, 8:] = 0, 0

    def shares() -> list[float]:
        return attention_on_words(dit, lambda: dit(torch.randn(2, 36, 1, 4, 4), torch.ones(2), texts), texts)

    assert shares()[0] != pytest.approx(0.6, abs=1e-4)
    for block in dit.blocks:
        block.cross_attn.q.weight.data.zero_()
    assert shares() == pytest.approx([0.6, 0.6])
