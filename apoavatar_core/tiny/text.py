"""Train the tiny T5: a sentencepiece vocabulary and a umt5 encoder whose embeddings tell captions apart.

A DiT begins with attention that is spread evenly over the tokens of a text, so the first it can learn from is their mean.
The encoder therefore learns to let a linear readout of that mean tell all that a caption says of the presenter.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..checkpoints.presets import TINY_T5
from ..checkpoints.safe_file import write_tensors
from ..comfyui import trainable
from ..speaking_prompt import SPEAKING_PROMPT
from ..synthetic import Identity, describe, facts_told, sample_identity
from ..synthetic import identity as words
from ..training.optimizers import build_optimizers, set_learning_rate

PAD, END, UNKNOWN = 0, 1, 2
UMT5_CONFIG = {
    "d_ff": 128,
    "d_kv": 16,
    "d_model": 64,
    "dense_act_fn": "gelu_pytorch_tanh",
    "is_gated_act": True,
    "model_type": "umt5",
    "num_heads": 4,
    "num_layers": 2,
}
VOCABULARY = 1000
"""Pieces: every word of the captions is one, and whatever else is written is spelled with short ones."""
MIN_LENGTH = 96
"""Tokens that a prompt is padded to: the longest caption and the speaking prompt fit, and little else. Wan's
cross-attention has no mask, so whatever attends to padding is lost for the text.
"""
SPELLED = 1000
"""Captions that the vocabulary is made from."""
HELD_OUT = 200
"""Presenters whom a finished encoder is measured on."""
BATCH = 32
LEARNING_RATE = 0.03
"""At the beginning; it falls to 0 in a line."""

FACTS: Mapping[str, tuple[str | bool, ...]] = {
    "skin": tuple(words.SKIN_COLOURS),
    "hair_style": words.HAIR_STYLES,
    "hair_colour": tuple(words.HAIR_COLOURS),
    "scarf_colour": tuple(words.CLOTHES_COLOURS),
    "beard": (False, True),
    "glasses": (False, True),
    "garment": words.GARMENTS,
    "clothes_colour": tuple(words.CLOTHES_COLOURS),
    "background": words.BACKGROUNDS,
    "wall_colour": tuple(words.WALL_COLOURS),
    "gesture_shape": words.GESTURE_SHAPES,
    "gesture_hands": words.GESTURE_HANDS,
    "gesture_size": words.GESTURE_SIZES,
    "gesture_energy": words.GESTURE_ENERGIES,
}
"""What a caption may tell, and the values of each fact."""
UNTOLD = -100
"""The class of a fact that a caption does not tell; `cross_entropy` ignores it."""


def told_classes(identity: Identity) -> list[int]:
    """Of each of `FACTS` the number of the value that captions of the identity tell, or `UNTOLD`."""
    told = facts_told(identity)
    return [values.index(told[name]) if name in told else UNTOLD for name, values in FACTS.items()]


def train_tokenizer(texts: list[str]) -> bytes:
    """A sentencepiece model with T5's special ids, as its serialized bytes.

    Pairs are merged (BPE) until words are whole: the unigram model keeps only 272 pieces of so small a language and
    spells a caption with 87 of them in place of 53.
    """
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        model_type="bpe",
        vocab_size=VOCABULARY,
        hard_vocab_limit=False,
        character_coverage=1.0,
        byte_fallback=True,
        pad_id=PAD,
        eos_id=END,
        unk_id=UNKNOWN,
        bos_id=-1,
        minloglevel=2,
    )
    return model.getvalue()


def new_encoder(config: dict) -> nn.Module:
    """A umt5 encoder with random weights."""
    encoder = trainable.new_t5(config)
    trainable.initialize(encoder)
    for name, parameter in encoder.named_parameters():
        if name.endswith("SelfAttention.q.weight"):  # T5 does not scale its logits; its queries start small instead
            nn.init.normal_(parameter, std=(config["d_model"] * config["d_kv"]) ** -0.5)
    nn.init.normal_(encoder.shared.weight)
    return encoder


class Readout(nn.Module):
    """Tells each of `FACTS` from the mean of a text's tokens."""

    def __init__(self, width: int):
        super().__init__()
        self.facts = nn.ModuleList(nn.Linear(width, len(values)) for values in FACTS.values())

    def forward(self, states: Tensor, present: Tensor) -> list[Tensor]:
        """Logits [B, values] of each fact. states: [B, L, d]; present: 1 where a token is [B, L]."""
        mean = (states * present[..., None]).sum(1) / present.sum(1, keepdim=True)
        return [head(mean) for head in self.facts]


def fact_loss(logits: list[Tensor], facts: Tensor) -> Tensor:
    """Mean over the facts; facts: `told_classes` [B, F]."""
    told = [(scores, classes) for scores, classes in zip(logits, facts.T) if (classes != UNTOLD).any()]
    return torch.stack([nn.functional.cross_entropy(scores, classes) for scores, classes in told]).mean()


def tokens_of(tokenizer, captions: list[str]) -> tuple[Tensor, Tensor]:
    """Padded ids [B, L], and 1 where a token is."""
    tokens = nn.utils.rnn.pad_sequence([torch.tensor(ids) for ids in tokenizer.encode(captions)], True, PAD)
    return tokens, (tokens != PAD).long()


@torch.no_grad()
def told_shares(encoder: nn.Module, readout: Readout, tokenizer) -> dict[str, float]:
    """Of each of `FACTS` the share of captions that tell it, of people whom training has not met, from which it is read."""
    people = [sample_identity(np.random.default_rng((11, seed))) for seed in range(HELD_OUT)]
    facts = torch.tensor([told_classes(identity) for identity in people])
    tokens, present = tokens_of(tokenizer, [describe(identity, seed) for seed, identity in enumerate(people)])
    states, _ = encoder(tokens, present)
    told = facts != UNTOLD
    right = torch.stack([logits.argmax(1) for logits in readout(states, present)], 1) == facts
    return dict(zip(FACTS, ((right & told).sum(0) / told.sum(0)).tolist()))


def person(number: int) -> Identity:
    """Training's presenter of this number."""
    return sample_identity(np.random.default_rng((7, number)))


def train(steps: int, out: Path) -> dict[str, float]:
    """Train for `steps` batches of captions, every fourth with the speaking prompt, and write the encoder with its
    tokenizer and dimensions to `out`; returns `told_shares`.

    No presenter is met twice: of 300 who came again the encoder learned those, and little of what captions say.
    """
    import sentencepiece

    spiece = train_tokenizer([f"{describe(person(number), number)} {SPEAKING_PROMPT}" for number in range(SPELLED)])
    tokenizer = sentencepiece.SentencePieceProcessor(model_proto=spiece, add_eos=True)
    config = {**UMT5_CONFIG, "vocab_size": tokenizer.get_piece_size()}
    torch.manual_seed(0)
    encoder, readout = new_encoder(config), Readout(config["d_model"])
    optimizers = build_optimizers("muon", nn.ModuleList([encoder, readout]), weight_decay=0.0)
    for step in range(steps):
        set_learning_rate(optimizers, LEARNING_RATE * (1 - step / steps))
        people = {number: person(number) for number in range(step * BATCH, (step + 1) * BATCH)}
        captions = [describe(identity, number) for number, identity in people.items()]
        facts = torch.tensor([told_classes(identity) for identity in people.values()])
        captions[::4] = [f"{text} {SPEAKING_PROMPT}" for text in captions[::4]]
        tokens, present = tokens_of(tokenizer, captions)
        # ComfyUI's T5 adds in place, which autograd refuses outside of this context.
        with torch.autograd.graph.allow_mutation_on_saved_tensors():
            states, _ = encoder(tokens, present)
            loss = fact_loss(readout(states, present), facts)
            loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        if (step + 1) % 25 == 0 or step + 1 == steps:
            print(f"step {step + 1}/{steps} loss {loss.item():.3f}", flush=True)
    tensors = {name: tensor.half() for name, tensor in encoder.state_dict().items()}
    tensors["spiece_model"] = torch.frombuffer(bytearray(spiece), dtype=torch.uint8)
    write_tensors(out, tensors, {"config": json.dumps({**config, "min_length": MIN_LENGTH})})
    shares = told_shares(encoder, readout, tokenizer)
    print("read from captions of other people: " + ", ".join(f"{fact} {share:.0%}" for fact, share in shares.items()), flush=True)
    return shares


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--out", type=Path, default=TINY_T5)


def run(arguments: argparse.Namespace) -> None:
    """Train as the parsed options say."""
    train(arguments.steps, arguments.out)
