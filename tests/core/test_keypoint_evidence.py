"""Evidence in keypoints: what is paired, what the statistics say, what is measured, and that stopped runs go on."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from apoavatar_core.conditioning.voice import latent_frame_windows
from apoavatar_core.evaluation import __main__ as command
from apoavatar_core.evaluation import answers_page, pictures, statistics
from apoavatar_core.evaluation import variants as v
from apoavatar_core.evaluation.keypoints import columns, measuring, modes, page, questions, runs, training
from apoavatar_core.evaluation.keypoints.latents import Latents, latents_of
from apoavatar_core.evaluation.keypoints.network import new_network
from apoavatar_core.evaluation.keypoints.voices import FPS, Voices
from apoavatar_core.evaluation.keypoints.world import (
    LEFT,
    MAIN,
    RIGHT,
    WORLDS,
    Performances,
    explained_share,
    hand_speed,
    perform_all,
)
from apoavatar_core.evaluation.page_parts import KEYPOINTS, PIXELS, PLAIN, write_part
from apoavatar_core.evaluation.questions import MOST_SEEDS, Answer, answers_to
from apoavatar_core.gestures import frame_loudness

SMALLEST = training.Budget(steps=2, batch=3, frames=13, performances=4)


def some_voices(count: int, frames: int = 24) -> Voices:
    """Bursts of noise in the place of speech, and gates that differ."""
    rng = np.random.default_rng(count)
    samples = frames * 16000 // FPS
    bursts = np.sin(np.linspace(0, 3 * np.pi, samples)) ** 2
    speech = (0.3 * bursts * rng.standard_normal((count, samples))).astype(np.float32)
    normalized = rng.random((count, frames), dtype=np.float32)
    return Voices(
        speech=speech,
        features=rng.standard_normal((count, frames, 40), dtype=np.float32),
        loudness=np.stack([frame_loudness(each, frames, FPS) for each in speech]).astype(np.float32),
        normalized=normalized,
        dropout=1 - normalized,
        mouth=rng.random((count, frames, 2), dtype=np.float32),
    )


@pytest.fixture(scope="module")
def school() -> training.School:
    voices = some_voices(3)
    performances = perform_all(voices, MAIN, np.array([0, 1, 2, 1]), np.random.default_rng(0))
    return training.School(voices, performances, latents_of(performances))


# --- pairing


def test_variants_of_a_seed_see_the_same_data_noise_and_sigma(school, monkeypatch) -> None:
    """Whatever x_σ is made of in two steps, and however many are trained beside it."""

    def seen(variant: v.Variant, *seeds: int) -> list[torch.Tensor]:
        found, interpolate = [], training.interpolate
        with monkeypatch.context() as patch:
            patch.setattr(training, "interpolate", lambda *given: found.extend(given) or interpolate(*given))
            training.train([school] * len(seeds), variant, SMALLEST, seeds)
        return found

    first = seen(v.REFOCUSING, 0)
    assert len(first) == 6
    for variant in (v.NONE, v.ANOTHER, v.CLIP_WISE):
        assert all(map(torch.equal, first, seen(variant, 0))), variant.key
    both = seen(v.REFOCUSING, 1, 0)
    assert all(torch.equal(alone, beside[SMALLEST.batch :]) for alone, beside in zip(first, both))
    assert not any(torch.equal(alone, other[: SMALLEST.batch]) for alone, other in zip(first, both))


def test_seeds_that_are_trained_together_learn_as_they_do_alone(school) -> None:
    alone = [training.train([school], v.BOTH, SMALLEST, [seed])[0] for seed in (3, 4)]
    together = training.train([school, school], v.BOTH, SMALLEST, (3, 4))
    for one, other in zip(alone, together):
        for name, weights in one.state_dict().items():
            assert torch.allclose(weights, other.state_dict()[name], atol=1e-4), name
    untrained = new_network(v.BOTH.interaction, True, seed=3).state_dict()
    assert not torch.equal(untrained["blocks.0.qkv.weight"], together[0].state_dict()["blocks.0.qkv.weight"])


def test_windows_hear_what_the_pack_cuts(school) -> None:
    voices = school.voices
    heard = training.heard_windows(voices, np.array([2, 0]), np.array([0, 9]), 13)
    wanted = [latent_frame_windows(torch.from_numpy(voices.features[which]), 13, start) for which, start in ((2, 0), (0, 9))]
    assert torch.equal(heard, torch.stack(wanted))


def test_variants_of_a_seed_begin_with_the_same_weights() -> None:
    whole = new_network(v.BOTH.interaction, True, seed=4).state_dict()
    for variant in (v.CLIP_WISE, v.FRAME_WISE, v.NO_PLACES):
        own = new_network(variant.interaction, variant.places, seed=4).state_dict()
        assert all(torch.equal(weights, whole[name]) for name, weights in own.items())
    assert len(own) < len(whole)
    assert not torch.equal(new_network(v.BOTH.interaction, True, seed=5).enter.weight, whole["enter.weight"])


def test_only_the_gate_differs_between_ways_to_hide_the_pose(school) -> None:
    batches = {variant.key: training.batch_at(school, variant, replace(SMALLEST, batch=40), 0, 0) for variant in v.ALL}
    gates = {key: batch.gate for key, batch in batches.items()}
    assert not gates["none"].any()
    posed = gates["clip"].amax((1, 2)) > 0
    assert 0 < posed.sum() < 40 and (gates["clip"][posed] == 1).all()
    assert not any(gate[~posed].any() for gate in gates.values())
    assert not torch.equal(gates["refocusing"], gates["temporal"])
    assert torch.equal(gates["refocusing"], gates["clip_wise"])


def test_controls_take_another_gate_than_the_voices_own() -> None:
    own, another = torch.tensor([0.1, 0.2, 0.3, 0.9]), torch.zeros(4)
    gates = {control: v.controlled(control, own, another, torch.Generator().manual_seed(1)) for control in v.GateControl}
    shuffled = gates[v.GateControl.SHUFFLED]
    assert torch.equal(gates[v.GateControl.OWN], own) and torch.equal(gates[v.GateControl.ANOTHER], another)
    assert torch.equal(shuffled.sort().values, own) and not torch.equal(shuffled, own)
    assert torch.allclose(gates[v.GateControl.INVERTED], torch.tensor([0.9, 0.8, 0.7, 0.1]))


def test_another_voices_gate_is_never_the_own(monkeypatch, school) -> None:
    """The voice's number is its gate here: whole where it is kept, so the masks tell whose it was."""
    voices = replace(school.voices, dropout=np.eye(3, 24, dtype=np.float32))
    own = np.arange(3).repeat(20)
    pairs = []
    monkeypatch.setattr(training, "controlled", lambda control, mine, other, rng: pairs.append((mine, other)) or mine)
    training.draw_gates(voices, v.ANOTHER, own, np.zeros(60, int), 13, 0, 0)
    assert not any(map(torch.equal, *zip(*pairs)))


# --- latents and worlds


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), latent_frames=st.integers(1, 4))
def test_latents_lose_nothing(seed, latent_frames) -> None:
    rng = np.random.default_rng(seed)
    places = rng.standard_normal((2, 4 * latent_frames + 1, 3, 3)).astype(np.float32)
    mean, details = (torch.from_numpy(rng.random(shape, dtype=np.float32)) for shape in ((3, 3), (4, 3, 3)))
    latents = Latents(mean, 1 + mean, 1 + details)
    assert np.allclose(latents.decode(latents.encode(places)), places, atol=1e-5)


def test_latents_have_deviation_one_and_tell_no_hand_from_the_other() -> None:
    rng = np.random.default_rng(0)
    places = np.cumsum(rng.standard_normal((20, 24, 3, 3)), axis=1).astype(np.float32) + 7
    latents = latents_of(Performances(places, np.zeros(20, int)))
    tokens = latents.encode(places[:, :21])[:, 1:].square().mean((0, 1)).sqrt()
    assert tokens.numpy() == pytest.approx(1, abs=0.35)
    assert torch.equal(latents.mean[RIGHT], latents.mean[LEFT])
    assert torch.equal(latents.details[:, RIGHT], latents.details[:, LEFT])


def test_a_voice_explains_more_of_the_hands_where_gestures_keep_to_it() -> None:
    shares = [explained_share(some_voices(6, 96), world, performances=6) for world in (WORLDS[0], WORLDS[-1])]
    assert 0 <= shares[0] < shares[1] <= 1


def test_trembling_hands_are_slow() -> None:
    still, moving = np.zeros((30, 3, 3)), np.zeros((30, 3, 3))
    still[::2, RIGHT, 0] = 0.03
    moving[:, RIGHT, 0] = 0.03 * np.arange(30)
    assert hand_speed(moving, (RIGHT,))[5] == pytest.approx(0.03)
    assert hand_speed(still, (RIGHT,))[5] == pytest.approx(0.01)
    assert hand_speed(moving)[5] == pytest.approx(0.015)


# --- statistics

VALUES = st.lists(st.floats(-5, 5), min_size=2, max_size=9)


@settings(max_examples=8, deadline=None)
@given(values=VALUES)
def test_the_bootstrap_is_the_obvious_loop(values) -> None:
    rng = np.random.default_rng(0)
    means = [np.mean([values[index] for index in rng.integers(len(values), size=len(values))]) for _ in range(1000)]
    wanted = [sorted(means)[round(share * 999)] for share in (0.025, 0.975)]
    spread = max(values) - min(values)
    found = statistics.bootstrap_interval(np.array(values), resamples=1000)
    assert found == pytest.approx(wanted, abs=0.02 * spread + 1e-9)


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_its_definition(p) -> None:
    """The smallest of m counts m times, the next m − 1 times, and none less than one before it."""
    so_far, wanted = 0.0, {}
    for rank, index in enumerate(sorted(range(len(p)), key=lambda index: p[index])):
        so_far = max(so_far, min(1.0, p[index] * (len(p) - rank)))
        wanted[index] = so_far
    assert statistics.holm(p) == pytest.approx([wanted[index] for index in range(len(p))])


@pytest.mark.parametrize(("difference", "seeds", "level"), [(0.5, 20, 0.05), (1.0, 12, 0.01), (-1.5, 4, 0.1), (0.0, 10, 0.05)])
def test_the_power_is_how_often_a_simulated_study_finds_it(difference, seeds, level) -> None:
    def t_of(studies: np.ndarray) -> np.ndarray:
        return np.abs(studies.mean(1)) / (studies.std(1, ddof=1) / np.sqrt(seeds))

    studies = np.random.default_rng(1).normal(difference, 1.0, (50_000, seeds))
    null = t_of(np.random.default_rng(2).normal(0.0, 1.0, (100_000, seeds)))
    found = t_of(studies) > np.quantile(null, 1 - level)
    assert statistics.power_of(difference, 1.0, seeds, level) == pytest.approx(found.mean(), abs=0.01)
    for study in studies[:5]:
        p = statistics.student_p(study.mean(), study.std(ddof=1), seeds)
        assert p == pytest.approx((null > t_of(study[None])).mean(), abs=0.01)


@settings(max_examples=20, deadline=None)
@given(effect=st.floats(0.4, 2.0), comparisons=st.integers(1, 30))
def test_one_seed_fewer_than_needed_is_too_few(effect, comparisons) -> None:
    needed, level = statistics.seeds_needed(effect, 1.0, comparisons), statistics.LEVEL / comparisons
    assert statistics.power_of(effect, 1.0, needed, level) >= statistics.POWER
    assert needed == 2 or statistics.power_of(effect, 1.0, needed - 1, level) < statistics.POWER
    assert statistics.seeds_needed(0.01, 1.0, comparisons, most=30) == 30


def test_pairs_cancel_what_seeds_have_in_common() -> None:
    seeds = np.random.default_rng(0).normal(0, 100, 20)
    found = statistics.paired_difference(seeds + 1, seeds)
    assert (found.low, found.mean, found.high) == pytest.approx((1, 1, 1)) and found.p < 1e-9
    assert statistics.paired_difference([1.0], [0.0]).p == 1
    with pytest.raises(ValueError, match="3 and 2 values are no pairs"):
        statistics.paired_difference([1, 2, 3], [1, 2])


# --- answers


def results_of(effects: dict[str, float], seeds: int = 20) -> dict[str, list[dict[str, float]]]:
    """Every measure of a variant is its effect, in units of what is worth noticing, and a little noise."""
    rng = np.random.default_rng(3)
    found = {
        key: [
            {name: (effects.get(key, 0.0) + 0.1 * rng.standard_normal()) * measure.worth * measure.better
             for name, measure in columns.MEASURES.items()}
            for _ in range(seeds)
        ]
        for key in [variant.key for variant in v.ALL]
    }  # fmt: skip
    return found | {"drawn": found["refocusing"]}


def answers(results: dict[str, list[dict[str, float]]]) -> list[Answer]:
    return answers_to(questions.QUESTIONS, columns.MEASURES, results)


def test_verdicts_follow_from_the_numbers() -> None:
    effects = {"refocusing": 3.0, "temporal": 3.0, "clip": 1.0, "none": 4.0}
    by_pair = {(a.question.measure, a.first.key, a.second.key): a.verdict for a in answers(results_of(effects))}
    assert by_pair["free_hand_r", "refocusing", "none"] == "worse"
    assert by_pair["free_hand_r", "refocusing", "clip"] == "better"
    assert by_pair["misfit_distance", "refocusing", "clip"] == "better"
    assert by_pair["free_hand_r", "refocusing", "temporal"] == "the same"
    assert len(by_pair) == questions.COMPARISONS
    few = answers(results_of({}, seeds=2))
    assert "undecided" in {answer.verdict for answer in few} and not {"better", "worse"} & {answer.verdict for answer in few}
    narrow = statistics.paired_difference([0.1, -0.1, 0.1, -0.1], [0.0] * 4)
    # Deviation 0.115, t of 3 degrees of freedom 3.18: the interval ends at 0.184.
    assert narrow.within(0.19, 0.05) and not narrow.within(0.18, 0.05) and not narrow.within(0.19, 0.01)


def test_noisier_pilots_ask_for_more_seeds() -> None:
    quiet = results_of({}, seeds=5)
    noisy = {key: [{name: 5 * value for name, value in run.items()} for run in found] for key, found in quiet.items()}
    assert questions.seeds_wanted(quiet) == questions.FEWEST_SEEDS < questions.seeds_wanted(noisy) <= MOST_SEEDS


# --- measures


def an_exam(school: training.School) -> modes.Exam:
    return modes.make_exam(school.voices, MAIN, clips=4, frames=13, seed=0)


def test_modes_give_the_pose_that_they_say(school) -> None:
    exam = an_exam(school)
    keep = 1 - exam.dropout
    for mode, pose, gate in (
        (modes.FREE, exam.places, 0), (modes.HARD, exam.places, 1), (modes.MISFIT, exam.others, 1),
        (modes.REFOCUSED, exam.places, keep), (modes.BORROWED, exam.others, keep),
    ):  # fmt: skip
        given_pose, given_gate = exam.pose_and_gate(mode)
        assert np.array_equal(given_pose, pose) and np.array_equal(given_gate, np.broadcast_to(gate, keep.shape))
    assert not np.array_equal(exam.places, exam.others)


def test_measures_know_a_perfect_and_a_still_film(school) -> None:
    exam = an_exam(school)
    perfect = measuring.measure({mode: exam.pose_and_gate(mode)[0] for mode in modes.MODES}, exam)
    for name in ("hard_distance", "misfit_distance", "refocused_distance"):
        assert perfect[name] == 0
    assert perfect["hard_side"] == pytest.approx(1) and perfect["free_mouth_r"] == pytest.approx(1)
    assert perfect["free_amount"] == pytest.approx(1)
    moved = exam.places.copy()
    moved[:, :, [RIGHT, LEFT], 1] += 0.2
    assert measuring.distance(moved, exam.places) == pytest.approx(0.2, abs=1e-6)
    swapped = exam.places[:, :, ::-1]
    assert measuring.which_hand(swapped, exam.places) == pytest.approx(-1)


def a_network_that_moves():
    """With random weights in every branch, also in those that a new one leaves at zero."""
    network = new_network(v.BOTH.interaction, True, seed=0)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def test_the_pose_reaches_the_network_where_the_gate_lets_it(school) -> None:
    """Another pose changes what is made, but for a shut gate."""
    network, exam = a_network_that_moves(), an_exam(school)
    made = {mode: modes.make(network, school.latents, exam, mode, 0) for mode in modes.MODES}
    assert made[modes.FREE].shape == exam.places.shape
    assert not np.allclose(made[modes.HARD], made[modes.MISFIT], atol=1e-4)
    shut = replace(exam, dropout=np.ones_like(exam.dropout))
    assert np.allclose(modes.make(network, school.latents, shut, modes.BORROWED, 0), made[modes.FREE], atol=1e-5)


def test_a_voice_is_worth_what_another_one_costs(school) -> None:
    network, exam = a_network_that_moves(), an_exam(school)

    def worth(heard: modes.Exam) -> float:
        own, another = (modes.hands_loss(network, school.latents, heard, modes.FREE, 0, swapped) for swapped in (False, True))
        return another - own

    assert worth(replace(exam, audio=exam.audio[:1].expand_as(exam.audio))) == 0
    assert abs(worth(exam)) > 1e-6


# --- runs and page


def small_study(folder: Path) -> runs.Keypoints:
    study = runs.Keypoints(folder, SMALLEST, voices=3, held_out_voices=2, seconds=2.0, clips=2)
    study.kept.mkdir(parents=True)
    for name, voices in (("voices", some_voices(3)), ("held_out_voices", some_voices(2))):
        np.savez(study.kept / f"{name}.npz", **{field.name: getattr(voices, field.name) for field in fields(Voices)})
    return study


def test_a_stopped_study_goes_on(tmp_path, monkeypatch) -> None:
    study, said = small_study(tmp_path), []
    monkeypatch.setattr(runs, "ALL", (v.REFOCUSING,))
    monkeypatch.setattr(runs, "TABLE_4", ())
    assert runs.run_all(study, 1, 1, said.append) == 1
    path = study.path_of(MAIN, v.REFOCUSING, 0)
    written = path.stat().st_mtime_ns
    runs.run_all(study, 2, 1, said.append)
    assert path.stat().st_mtime_ns == written
    assert said == ["1/1: between, refocusing, seeds 0", "1/1: between, refocusing, seeds 1"]
    assert set(study.read(MAIN, v.REFOCUSING, 1)["measures"]) == set(columns.MEASURES)
    assert len(study.results(MAIN, 2)["drawn"]) == 2
    runs.run_all(study, 2, 1, said.append)
    assert len(said) == 2 and not list(study.kept.glob(".*"))


def test_every_variant_has_the_same_seeds(tmp_path) -> None:
    jobs = runs.Keypoints(tmp_path).jobs(7)
    trained = [(job.world.name, job.variant.key, seed) for job in jobs for seed in job.seeds]
    assert len(trained) == len(set(trained)) == 7 * (11 + 4 + 4)
    assert {seed for *_, seed in trained} == set(range(7))


def test_other_settings_make_other_results(tmp_path) -> None:
    study = runs.Keypoints(tmp_path, SMALLEST)
    assert study.kept != replace(study, clips=7).kept
    assert study.kept != replace(study, budget=replace(SMALLEST, rate=1.0)).kept
    assert study.kept == runs.Keypoints(tmp_path, replace(SMALLEST)).kept


def findings(seeds: int = 20) -> page.Findings:
    results = results_of({"refocusing": 3.0, "temporal": 3.0}, seeds)
    explained = {"free": 0.2, "between": 0.3, "bound": 0.6}
    return page.Findings(seeds, {world.name: results for world in WORLDS}, explained, 9.0)


def test_the_page_answers_first(tmp_path) -> None:
    names = dict.fromkeys(("differences", "worlds", "modes"), "picture.png")
    text = page.part(findings(), runs.Keypoints(tmp_path), names)
    assert text.index("answers") < text.index("### Differences") < text.index("### How it was done")
    assert "*refocusing* is **better than** *clip*" in text and "pose-free (confirmed)" in text
    assert "a first look" not in text and "a first look" in page.part(findings(3), runs.Keypoints(tmp_path), names)
    results, drawn = findings().results[MAIN.name], findings().drawn
    rows = [line.count("|") for line in answers_page.means_table(v.TABLE_5, results, columns.MEASURES, drawn).splitlines()]
    assert len(set(rows)) == 1 and len(rows) == 2 + len(columns.MEASURES)
    assert json.loads(json.dumps(page.report(findings())))["answers"][0]["verdict"] == "better"


def test_pictures_show_every_answer() -> None:
    found = findings()
    image = pictures.forest(found.answers)
    assert image.shape == (pictures.ROW * (questions.COMPARISONS + 2), pictures.FOREST_WIDTH, 3)
    assert (image == pictures.COLOURS["better"]).all(-1).any() and (image == pictures.COLOURS["the same"]).all(-1).any()
    drawn = pictures.curve(found.curve("free_hand_r"), [0.2, 0.3, 0.6], "title")
    assert all((np.abs(drawn.astype(int) - colour).sum(-1) < 30).any() for colour in pictures.LINES)
    one = findings(1)
    assert pictures.forest(one.answers).shape == image.shape and "one seed" in answers_page.differences_table(one.answers)


def test_each_part_of_the_page_is_written_alone(tmp_path) -> None:
    path = tmp_path / "docs" / "evidence.md"
    write_part(path, KEYPOINTS, "first")
    write_part(path, PLAIN, "last")
    write_part(path, PIXELS, "second")
    write_part(path, KEYPOINTS, "third")
    text = path.read_text()
    assert text.startswith("# Evidence") and text.index("third") < text.index("second") < text.index("last")
    assert "first\n" not in text


def test_a_part_that_a_page_has_no_room_for_yet_takes_nothing_from_the_others(tmp_path) -> None:
    path = tmp_path / "evidence.md"
    write_part(path, KEYPOINTS, "kept")
    text = path.read_text()
    path.write_text(text[: text.index(f"\n<!-- {PLAIN}")])
    write_part(path, PLAIN, "new")
    assert path.read_text() == text.replace(f"<!-- end of {PLAIN}", f"new\n<!-- end of {PLAIN}")


@pytest.mark.parametrize("words", [(), (KEYPOINTS,), (PIXELS,), (PLAIN,)])
def test_the_command_makes_the_part_that_it_is_asked_for_or_all(words, monkeypatch) -> None:
    made = []
    monkeypatch.setattr(command, "ablate_keypoints", lambda arguments: made.append(KEYPOINTS))
    monkeypatch.setattr(command, "ablate_pixels", lambda arguments, part: made.append(part))
    monkeypatch.setattr(command, "pixels_of", lambda arguments, part: made.append(f"looked at {part}"))
    command.ablate(command.arguments_of(["ablate", *words]))
    # What is missing in pixels is said before the hour that keypoints take.
    assert made == (list(words) or ["looked at pixels", "looked at plain", KEYPOINTS, PIXELS, PLAIN])
