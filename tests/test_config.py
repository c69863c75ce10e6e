"""The schema: every form of a choice, merging, messages, and files that reload to equal objects."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BeforeValidator, Field, ValidationError

from unmask.config import Config, build, choice, difference, from_yaml, to_yaml
from unmask.config.merge import overlay, plant
from unmask.config.schema import options
from unmask.errors import UserError

Objectives = choice("Objectives", "fake_objectives", several=True)
OneObjective = choice("OneObjective", "fake_objectives")


class Shape(Config):
    layers: int = Field(12, ge=1, description="Number of blocks")
    width: int = Field(768, ge=8, description="Width")


PRESETS = {"tiny": {"layers": 2, "width": 16}, "large": {"layers": 24, "width": 1024}}


def resolve(value: Any) -> Any:
    value = {"name": value} if isinstance(value, str) else dict(value)
    name = value.pop("name", None)
    return {**PRESETS[name], **value} if name else value


class Run(Config):
    out: Path = Field(Path("runs/a"), description="Folder")
    model: Annotated[Shape, BeforeValidator(resolve)] = Field("tiny", description="Preset")
    objective: Objectives = Field("masked_lm", description="What is learned")  # type: ignore[valid-type]
    seeds: list[int] = Field([1], description="Seeds")
    lr: float = Field(1e-12, gt=0, description="Learning rate")
    language: str | None = Field(None, description="Language")


@pytest.mark.parametrize(
    "form",
    [
        "masked_lm,next_sentence",
        ["masked_lm", "next_sentence"],
        {"name": "masked_lm, next_sentence"},
        {"masked_lm": {}, "next_sentence": {}},
        {"masked_lm": None, "next_sentence": None},
        {"name": "masked_lm", "next_sentence": {}},
    ],
)
def test_every_form_of_a_choice_is_the_same(form: Any) -> None:
    assert Objectives.model_validate(form) == Objectives.model_validate("next_sentence,masked_lm")
    assert list(Objectives.model_validate(form).chosen) == ["masked_lm", "next_sentence"]


@pytest.mark.parametrize("key", ["rate", "masked_lm.rate"])
def test_loose_settings_go_to_the_chosen_member_that_has_them(key: str) -> None:
    made = Objectives.model_validate({"name": "masked_lm,next_sentence", key: 0.3})
    assert made.chosen["masked_lm"].rate == 0.3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"objective": "masked_lmm"}, "objective: there is no 'masked_lmm'; did you mean masked_lm?"),
        ({"objective": "zzz"}, "choose from masked_lm, next_sentence, replaced_token"),
        ({"objective": {}, "lr": 0}, "lr 0: must be a number above 0"),
        ({"objective": []}, "objective: choose at least one of masked_lm, next_sentence, replaced_token"),
        (
            {"objective": {"ratee": 0.1}},
            "objective.ratee: masked_lm has no such option; did you mean objective.rate?",
        ),
        (
            {"objective": {"generator_size": 0.1}},
            "objective.generator_size: belongs to replaced_token; chosen is masked_lm",
        ),
        (
            {"objective": {"name": "masked_lm,next_sentence", "weight": 2}},
            "objective.weight: masked_lm and next_sentence have it; say whose it is, as in masked_lm.weight",
        ),
        (
            {"objective.next_sentence.weight": 2},
            "objective.next_sentence.weight: next_sentence is not chosen; chosen is masked_lm",
        ),
        ({"objective": {"masked_lm": {"rate": 2}}}, "rate 2: must be a number above 0, at most 1"),
        ({"objective": {"masked_lm": 3}}, "objective.masked_lm 3: must be settings or none"),
        ({"model.layerz": 3}, "model.layerz: no such option; did you mean model.layers?"),
        ({"layers": 3}, "layers: no such option; did you mean model.layers?"),
        ({"seeds": ["1", "x"]}, "seeds x: must be a list, each a whole number"),
        ({"seeds.first": 1}, "seeds.first: no such option"),
        ({"lr": "nan"}, "lr nan: must be a number above 0"),
        ({"lr": True}, "lr yes: must be a number above 0"),
        ({"model.layers": True}, "model.layers yes: must be a whole number at least 1"),
        ({"seeds": [1, False]}, "seeds [1, False]: must be a list, each a whole number"),
        ({"objective.masked_lm.rate": True}, "objective.masked_lm.rate yes: must be a number above 0, at most 1"),
        ({"lr": -1, "seeds": 3, "language": 4}, "seeds 3: must be a list, each a whole number (and 2 more)"),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        build(Run, given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_exactly_one_is_chosen_where_only_one_can_be() -> None:
    with pytest.raises(ValidationError, match="choose exactly one of masked_lm"):
        OneObjective.model_validate("masked_lm,next_sentence")


def test_settings_without_a_name_change_the_default() -> None:
    run = build(Run, {"model.layers": 3, "objective.rate": 0.3})
    assert run.model == Shape(layers=3, width=16)
    assert run.objective.chosen["masked_lm"].rate == 0.3
    assert Run.model_validate({"model": {"layers": 3}, "objective": {"rate": 0.3}}) == run


def test_dotted_names_meet_a_scalar() -> None:
    for given in ({"model": "large", "model.layers": 3}, {"model.layers": 3, "model": "large"}):
        assert plant(Run, given) == {"model": {"name": "large", "layers": 3}}


@pytest.mark.parametrize(
    ("under", "over", "result"),
    [
        ({"model": "tiny"}, {"model": {"layers": 3}}, {"model": {"name": "tiny", "layers": 3}}),
        ({"model": {"layers": 9, "width": 8}}, {"model": "large"}, {"model": {"name": "large"}}),
        (
            {"objective": {"masked_lm": {"rate": 0.3}, "replaced_token": {}}},
            {"objective": "masked_lm,next_sentence"},
            {"objective": {"masked_lm": {"rate": 0.3}, "next_sentence": {}}},
        ),
        ({"seeds": [1, 2]}, {"seeds": [3]}, {"seeds": [3]}),
    ],
)
def test_what_is_laid_over_wins_and_a_new_name_replaces_the_old_settings(
    under: dict[str, Any], over: dict[str, Any], result: dict[str, Any]
) -> None:
    assert overlay(Run, under, over) == result


def test_a_path_is_taken_where_an_address_is_text() -> None:
    assert build(Run, {"language": Path("runs/a"), "out": Path("b")}) == build(Run, {"language": "runs/a", "out": "b"})


def test_yaml_reloads_to_an_equal_object(tmp_path: Path) -> None:
    run = build(Run, {"objective": "masked_lm,replaced_token", "objective.rate": 0.3, "language": "no"})
    (tmp_path / "config.yaml").write_text(to_yaml(run), encoding="utf-8")
    assert from_yaml(Run, tmp_path / "config.yaml") == run
    assert build(Run, {}, tmp_path / "config.yaml") == run
    assert "next_sentence" not in to_yaml(run)
    assert "layers: 2" in to_yaml(run)


def test_a_name_on_top_of_a_complete_file_takes_effect(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(to_yaml(build(Run, {"model.layers": 3})))
    assert build(Run, {"model": "large"}, tmp_path / "config.yaml").model == Shape(layers=24, width=1024)


def test_differences_are_named_by_path() -> None:
    before, after = (
        build(Run, {}),
        build(Run, {"objective.rate": 0.3, "objective": "masked_lm,next_sentence"}),
    )
    assert difference(before, before) == []
    assert difference(before, after) == [
        "objective.masked_lm.rate: 0.15 -> 0.3",
        "objective.next_sentence.weight: (absent) -> 1.0",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "lr: 1\nobjective:\n  masked_lm:\n    rate: 7\n",
            ":4: objective.masked_lm.rate 7: must be a number above 0",
        ),
        ("lr: 1\nobjective: {name: masked_lm, rate: 7}\n", ":2: objective.masked_lm.rate 7: must be"),
        ("lr: 1\nlrr: 2\n", ":2: lrr: no such option; did you mean"),
        ("lr: 1\nlr: 2\n", ":2: lr is given twice (first in line 1)"),
        ("lr: [1\nmodel: 2\n", ":2: not YAML: "),
        ("lr: \x07\n", ": not YAML: unacceptable character"),
        ("- 1\n", ": must hold settings"),
        ("", ": must hold settings"),
        ("command: finetune\n", ": is for the command finetune, not run"),
    ],
)
def test_a_bad_recipe_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    for read in (lambda: build(Run, {}, file), lambda: from_yaml(Run, file)):
        with pytest.raises(UserError) as caught:
            read()
        assert str(file) + message in str(caught.value)


@pytest.mark.parametrize("word", ["yes", "on", "true", "off"])
def test_a_truth_value_of_yaml_is_no_number_but_switches_what_can_be_switched(tmp_path: Path, word: str) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(f"seeds: [{word}]\n")
    with pytest.raises(UserError, match=r":1: seeds \[(True|False)\]: must be a list, each a whole number"):
        build(Run, {}, file)
    file.write_text(f"lr: 1e-3\nobjective:\n  masked_lm:\n    rate: {word}\n")
    with pytest.raises(UserError, match=r":4: objective\.masked_lm\.rate (yes|no): must be a number"):
        build(Run, {}, file)
    file.write_text(f"objective:\n  masked_lm:\n    whole_words: {word}\n")
    assert build(Run, {}, file).objective.chosen["masked_lm"].whole_words is (word != "off")


def test_a_recipe_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no\.yaml: cannot be read \(No such file"):
        build(Run, {}, tmp_path / "no.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(UserError, match=r"binary\.yaml: not a text file"):
        build(Run, {}, tmp_path / "binary.yaml")


def test_every_option_is_found_by_path_and_in_short() -> None:
    shorts = {option.path: option.short for option in options(Run)}
    assert shorts["objective.masked_lm.rate"] == "objective.rate"
    assert {"out", "model", "model.layers", "objective", "objective.replaced_token.generator_size"} <= set(shorts)
