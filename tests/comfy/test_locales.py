"""The pack's words in the languages of ComfyUI's page: as the server gives them, against what the nodes say in English."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

LOCALES = Path(__file__).resolve().parents[2] / "locales"
LANGUAGES = ["de", "es", "fr", "ja", "ko", "zh"]
VUE_I18N_SYNTAX = re.compile(r"[@{}|]")
"""The page reads names and descriptions as messages of vue-i18n, to which these characters are no text."""
DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"
TOKEN = re.compile(r"[\w./+-]*\w")


class Input(NamedTuple):
    key: str
    """Where nodeDefs.json has it: what an option of a DynamicCombo brings is COMBO_NAME."""
    name: str
    tooltip: str | None
    options: tuple[str, ...]


def inputs_of(groups: dict, prefix: str = "") -> Iterator[Input]:
    for group in ("required", "optional"):
        for name, (kind, told) in groups.get(group, {}).items():
            chosen = told.get("options", []) if kind == DYNAMIC_COMBO else []
            options = [option["key"] for option in chosen] or told.get("options", [])
            yield Input(prefix + name, name, told.get("tooltip"), tuple(options))
            for option in chosen:
                yield from inputs_of(option["inputs"], f"{prefix}{name}_")


def words_of(node: dict) -> dict[str, str]:
    """What the page may show of a node in another language, by its place in nodeDefs.json.

    An output that is called as its type is called as the page calls this type.
    """
    words = {"display_name": node["display_name"], "description": node["description"]}
    for one in inputs_of(node["input"]):
        words |= {f"inputs.{one.key}.name": one.name, f"inputs.{one.key}.tooltip": one.tooltip}
    for number, (kind, name, tooltip) in enumerate(zip(node["output"], node["output_name"], node["output_tooltips"])):
        words |= {f"outputs.{number}.name": name if name != kind else None, f"outputs.{number}.tooltip": tooltip}
    return {place: word for place, word in words.items() if word is not None}


def leaves(tree: dict, path: str = "") -> Iterator[tuple[str, object]]:
    for key, value in tree.items():
        yield from leaves(value, f"{path}{key}.") if isinstance(value, dict) else [(path + key, value)]


def is_sentence(place: str) -> bool:
    return place.split(".")[-1] in ("tooltip", "description")


@pytest.fixture(scope="module")
def nodes(comfy_server) -> dict[str, dict]:
    """The pack's nodes, as the page gets them."""
    everything = json.loads(comfy_server.get("/object_info"))
    return {name: node for name, node in everything.items() if name.startswith("ApoAvatar")}


@pytest.fixture(scope="module")
def english(nodes) -> dict[str, str]:
    return {f"{name}.{place}": word for name, node in nodes.items() for place, word in words_of(node).items()}


@pytest.fixture(scope="module")
def served(comfy_server) -> dict[str, dict]:
    return json.loads(comfy_server.get("/i18n"))


@pytest.fixture(params=["en", *LANGUAGES])
def any_language(request) -> str:
    return request.param


@pytest.fixture(params=LANGUAGES)
def language(request) -> str:
    return request.param


def translated(served: dict, language: str) -> dict[str, str]:
    ours = {name: node for name, node in served[language]["nodeDefs"].items() if name.startswith("ApoAvatar")}
    return dict(leaves(ours))


def listed(title: str, problems: list[str]) -> str:
    return "\n  ".join([f"{title}:", *problems])


def test_every_word_of_every_node_has_its_place_and_nothing_else_has(served, english, any_language):
    words = translated(served, any_language)
    lacks = [f"{place}: {english[place]}" for place in english.keys() - words.keys()]
    assert not lacks, listed(f"locales/{any_language}/nodeDefs.json lacks", sorted(lacks))
    assert not words.keys() - english.keys(), listed(
        f"locales/{any_language}/nodeDefs.json has what no node says", sorted(words.keys() - english.keys())
    )


def test_the_english_that_was_translated_is_what_the_nodes_say(served, english):
    """Where this fails, say the sentence in locales/en as the node does, and anew in every other language."""
    known = translated(served, "en")
    changed = [f"{place}: {english[place]}" for place in english.keys() & known.keys() if known[place] != english[place]]
    assert not changed, listed("not what locales/en/nodeDefs.json says", sorted(changed))


def test_words_are_texts_that_the_page_shows_as_they_are(served, any_language):
    words = translated(served, any_language).items()
    bad = [f"{place}: {word!r}" for place, word in words if not isinstance(word, str) or not word.strip() or word != word.strip()]
    assert not bad, listed(f"{any_language}: no text", bad)
    syntax = [f"{place}: {word}" for place, word in words if VUE_I18N_SYNTAX.search(word)]
    assert not syntax, listed(f"{any_language}: characters that mean something to vue-i18n", syntax)


def test_sentences_are_translated(served, english, language):
    words = translated(served, language)
    same = [place for place in english.keys() & words.keys() if is_sentence(place) and words[place] == english[place]]
    assert not same, listed(f"{language}: still in English", sorted(same))


def stays(token: str) -> bool:
    """Whether TOKEN of an English sentence is no word: a number, identifier or path, or a name with capitals in it (DWPose, CPU)."""
    return bool(re.search(r"[_/\d]|[A-Z].*[A-Z]", token))


def says(sentence: str, token: str) -> bool:
    """Whether TOKEN stands in SENTENCE; a number does not as a piece of another one."""
    return bool(re.search(rf"(?<![\d.]){re.escape(token)}(?!\d)", sentence))


def must_stay(inputs: list[Input], place: str, sentence: str, names: dict[str, str]) -> set[str]:
    """What SENTENCE holds that no language says in another way; NAMES are the inputs' names in the language."""
    options = next((one.options for one in inputs if f".inputs.{one.key}." in place), ())
    tokens = {re.sub("(?<=[A-Z])s$", "", token) for token in TOKEN.findall(sentence) if stays(token)}  # LoRAs
    called = {token if token in options else names.get(token, token) for token in tokens}
    return called | {option for option in options if re.search(rf"\b{re.escape(option)}(?=:| and |\.$)", sentence)}


def test_numbers_options_and_names_are_kept(served, nodes, english, language):
    words, lost = translated(served, language), []
    for name, node in nodes.items():
        inputs = list(inputs_of(node["input"]))
        names = {one.name: words.get(f"{name}.inputs.{one.key}.name", one.name) for one in inputs}
        for place in (place for place in words_of(node) if is_sentence(place)):
            kept = must_stay(inputs, f".{place}", english[f"{name}.{place}"], names)
            translation = words.get(f"{name}.{place}", "")
            lost += [f"{name}.{place}: {word}" for word in sorted(kept) if not says(translation, word)]
    assert not lost, listed(f"{language}: lost", lost)


def test_other_nodes_are_called_as_they_are_called(served, nodes, language):
    words, titles = translated(served, language), {name: node["display_name"] for name, node in nodes.items()}
    lost = [
        f"{name}.{place}: {words[f'{other}.display_name']}"
        for name, node in nodes.items()
        for place, sentence in words_of(node).items()
        for other, title in titles.items()
        if is_sentence(place) and title in sentence
        and words.get(f"{other}.display_name", "") not in words.get(f"{name}.{place}", "")
    ]
    assert not lost, listed(f"{language}: mentioned by another name", lost)


def test_the_workflows_have_their_title_in_every_language(served, any_language):
    """The page asks for it in the chosen language only, and shows the folder's name where there is none."""
    titles = served[any_language]["templateWorkflows"]["category"]
    assert titles["apoavatar"] == titles["comfyui-apoavatar"] == "ApoAvatar"


def test_the_server_gives_every_file(served):
    for file in sorted(LOCALES.glob("*/*.json")):
        ours = json.loads(file.read_text(encoding="utf-8"))
        given = served[file.parent.name]
        given = given["nodeDefs"] if file.stem == "nodeDefs" else given
        assert dict(leaves(ours)).items() <= dict(leaves(given)).items(), file
    assert {folder.name for folder in LOCALES.iterdir()} == {"en", *LANGUAGES}
