"""Pictures of one objective or several combined, with what their files say of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unmask.config import describe
from unmask.insight.changes import MEANINGS, State
from unmask.insight.examples import Drawer
from unmask.insight.outcomes import Shown, shown
from unmask.insight.passages import TEXTS, UNITS, vocabulary
from unmask.objectives.base import Objective
from unmask.text.sampling.cutting import FORMATS
from unmask.text.sampling.plan import formats
from unmask.text.tokens.tokenizer import Tokenizer
from unmask.text.tokens.units import is_han

_ARXIV = re.compile(r"\b\d{4}\.\d{4,5}\b")


@dataclass(frozen=True)
class Method:
    """An objective as its file tells it."""

    name: str
    title: str
    question: str
    sentence: str
    notes: list[str]
    paper: str
    settings: dict[str, tuple[str, bool]]  # what it was asked with, and whether that is not the default

    @property
    def number(self) -> str:
        """The paper's number at arXiv, if it has one."""
        found = _ARXIV.search(self.paper)
        return found[0] if found else ""


@dataclass(frozen=True)
class Sheet:
    """Everything that is shown of a text."""

    methods: list[Method]
    texts: list[str]
    language: str
    input_format: str
    shown: list[Shown]
    chosen: bool  # whether the draws were chosen for what they show
    own_words: bool  # whether the texts' own words are the vocabulary
    others: bool  # whether something of the documents is to be seen that were put beside the texts

    @property
    def title(self) -> str:
        """The methods' titles."""
        return " + ".join(method.title for method in self.methods)

    @property
    def legend(self) -> dict[State, str]:
        """What is to be seen, in words."""
        seen = {state for one in self.shown for state in one.picture.states}
        return {state: words for state, words in MEANINGS.items() if state in seen}

    @property
    def notes(self) -> list[str]:
        """What has to be known to read the pictures right."""
        asked = any(view.asks for one in self.shown for view in one.picture.views.values())
        return [
            *["Nothing is asked of this text; give one of several sentences, or a longer one."] * (not asked),
            *["Chance decides anew for every text and epoch; of many draws one is shown in which most happens."]
            * self.chosen,
            *["What stands in another document (underlined) is of a few that unmask carries."] * self.others,
            *["The vocabulary is the text's own words; --tokenizer takes a real one."] * self.own_words,
        ]


def sheet(
    objectives: Mapping[str, Objective],
    texts: Sequence[str],
    *,
    tokenizer: Tokenizer | None = None,
    language: str | None = None,
    input_format: str | None = None,
    length: int = 128,
    seed: int | None = None,
    units: Mapping[str, Sequence[str]] | None = None,
) -> Sheet:
    """Draw what objectives make of texts.

    Args:
        objectives: by name, each after those that it follows.
        texts: each is a document; none: a text that suits the objectives.
        tokenizer: none: the texts' own words are the vocabulary.
        language: whose rules cut sentences; none: Chinese where there are Chinese characters, else English.
        input_format: how sentences become sequences; none: as pre-training would.
        length: tokens of a sequence at most.
        seed: of the one example to show; none: one for each thing that chance may decide.
        units: phrases and entities to find; none: those of the text that suits the objectives.

    Raises:
        UserError: a text has no tokens, there are more than a picture can show, or the format does not fit.
    """
    if not texts:
        texts, units = [text_for(objectives, language or "en", input_format)], units or UNITS[_script(language)]
    texts = list(texts)
    language = language or ("zh" if any(is_han(c) for text in texts for c in text) else "en")
    input_format = formats(objectives, input_format)[0]
    drawer = Drawer(objectives, texts, tokenizer or vocabulary(texts), language, input_format, length, units)
    found = shown(drawer, seed)
    used = any(token.elsewhere for one in found for view in one.picture.views.values() for token in view.tokens)
    methods = [_method(name, objective) for name, objective in objectives.items()]
    return Sheet(methods, texts, language, input_format, found, seed is None, tokenizer is None, used)


def text_for(objectives: Mapping[str, Objective], language: str, input_format: str | None = None) -> str:
    """A text to look at, of as many sentences as the objectives need.

    Two make a pair, and three are enough to choose one that is not the next. Where neither is wanted one will do,
    unless nothing is asked about it, or the objectives do something to sentences.
    """
    form = formats(objectives, input_format)[0]
    script = _script(language)
    if FORMATS[form].pairs:
        return "".join(TEXTS[script][:2])
    first = TEXTS[script][0]
    drawer = Drawer(objectives, [first], vocabulary([first]), script, form, units=UNITS[script])
    drawn = drawer.draw(0)
    asked = any(len(targets.index) for targets in drawn.after.targets.values())
    modes = any(objective.modes for objective in objectives.values())  # some of them want a longer text
    sentences = any(stream.sentences is not None for stream in drawn.before.streams.values())
    return first if asked and not sentences and not modes else "".join(TEXTS[script])


def _script(language: str | None) -> str:
    return "zh" if language and language.startswith("zh") else "en"


def _method(name: str, objective: Objective) -> Method:
    cls = type(objective)
    sentence, *notes = describe.paragraphs(cls)
    usual = describe.settings(cls, Objective)
    settings = {key: (value := describe.written(getattr(objective, key)), value != usual[key]) for key in usual}
    return Method(name, describe.title(cls), describe.question(cls), sentence, notes, describe.paper(cls), settings)
