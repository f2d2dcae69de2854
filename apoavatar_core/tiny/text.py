"""Train the tiny T5: a sentencepiece vocabulary and a umt5 encoder that fills in masked words of captions."""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..checkpoints.presets import TINY_T5
from ..checkpoints.safe_file import write_tensors
from ..comfyui import trainable
from ..speaking_prompt import SPEAKING_PROMPT

PAD, END, UNKNOWN = 0, 1, 2
UMT5_CONFIG = {
    "d_ff": 192,
    "d_kv": 16,
    "d_model": 64,
    "dense_act_fn": "gelu_pytorch_tanh",
    "is_gated_act": True,
    "model_type": "umt5",
    "num_heads": 4,
    "num_layers": 2,
}
MIN_LENGTH = 192
"""Tokens that a prompt is padded to: a long caption and the speaking prompt fit."""


def captions(count: int) -> list[str]:
    """Captions of random presenters, every other one with the speaking prompt."""
    from ..synthetic import describe, sample_identity

    described = [describe(sample_identity(np.random.default_rng((7, seed))), seed) for seed in range(count)]
    return [f"{text} {SPEAKING_PROMPT}" if index % 2 else text for index, text in enumerate(described)]


def train_tokenizer(texts: list[str], vocabulary: int) -> bytes:
    """A sentencepiece unigram model with T5's special ids, as its serialized bytes."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        vocab_size=vocabulary,
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


def train(steps: int, out: Path) -> None:
    """Train for `steps` batches of 32 captions and write the encoder with its tokenizer and dimensions to `out`."""
    import sentencepiece

    texts = captions(6000)
    spiece = train_tokenizer(texts, 700)
    tokenizer = sentencepiece.SentencePieceProcessor(model_proto=spiece, add_eos=True)
    config = {**UMT5_CONFIG, "vocab_size": tokenizer.get_piece_size()}
    torch.manual_seed(0)
    encoder = trainable.new_t5(config)
    trainable.initialize(encoder)
    for name, parameter in encoder.named_parameters():
        if "layer_norm" in name:
            nn.init.ones_(parameter)
        if name.endswith("SelfAttention.q.weight"):  # T5 does not scale its logits; its queries start small instead
            nn.init.normal_(parameter, std=(config["d_model"] * config["d_kv"]) ** -0.5)
    nn.init.normal_(encoder.shared.weight)
    head = nn.Linear(config["d_model"], config["vocab_size"])
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], 2e-3)
    rng = np.random.default_rng(0)
    for step in range(1, steps + 1):
        batch = [torch.tensor(tokenizer.encode(texts[index])) for index in rng.integers(0, len(texts), 32)]
        tokens = nn.utils.rnn.pad_sequence(batch, True, PAD)
        masked = torch.from_numpy(rng.random(tokens.shape) < 0.2) & (tokens > UNKNOWN)
        # ComfyUI's T5 adds in place, which autograd refuses outside of this context.
        with torch.autograd.graph.allow_mutation_on_saved_tensors():
            states, _ = encoder(tokens.masked_fill(masked, UNKNOWN), (tokens != PAD).long())
            loss = nn.functional.cross_entropy(head(states[masked]), tokens[masked])
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % 100 == 0 or step == steps:
            print(f"step {step}/{steps} masked-word loss {loss.item():.3f}", flush=True)
    tensors = {name: tensor.half() for name, tensor in encoder.state_dict().items()}
    tensors["spiece_model"] = torch.frombuffer(bytearray(spiece), dtype=torch.uint8)
    write_tensors(out, tensors, {"config": json.dumps({**config, "min_length": MIN_LENGTH})})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--out", type=Path, default=TINY_T5)


def run(arguments: argparse.Namespace) -> None:
    """Train as the parsed options say."""
    train(arguments.steps, arguments.out)
