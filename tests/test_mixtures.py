"""What UL2 promises of its denoisers, and several objectives of which one is drawn for each step."""

import json

import numpy as np
import pytest
import torch
from pydantic import ValidationError

import unmask
from fake_corpus import corpus_of
from small_base import EXACT, sentences
from test_span_corruption import drawn, rebuilt
from unmask.commands.inspect import Inspect
from unmask.commands.pretrain import Pretrain
from unmask.errors import UserError
from unmask.inference.building import network_of
from unmask.insight.sheet import sheet
from unmask.objectives.mixture_of_denoisers import DENOISERS, MixtureOfDenoisers
from unmask.objectives.span_corruption import SpanCorruption
from unmask.runs.pretraining import Pretraining
from unmask.text.chance import generator
from unmask.text.sampling.plan import Plan
from unmask.training.placement import Placement

MODES = MixtureOfDenoisers.modes


@pytest.fixture(scope="module")
def corpus():
    return corpus_of(shards=2, documents=40, sentences=30, words=8)


@pytest.fixture(scope="module")
def denoised(corpus):
    """By text: its mode, the lengths of the spans that were hidden, what was read, what is asked, the text."""
    texts, read, written, tokenizer = drawn(MixtureOfDenoisers(), corpus, rows=150, form="doc_sentences")
    modes, marks = (tokenizer.ids(names).tolist() for names in (MODES, tokenizer.extra[len(MODES) :]))
    found = []
    for text, given, told in zip(texts, read, written, strict=True):
        (mode,) = set(given) & set(modes)
        assert given.index(mode) == 1, "behind [CLS]"
        begins = [place for place, token in enumerate(told) if token in marks]
        rest = [token for token in given if token != mode]
        assert rebuilt(rest, told, marks) == text
        found.append((modes.index(mode), np.diff(begins) - 1, len(text) - 2))
    return found


def test_each_denoiser_is_drawn_as_often_and_hides_as_it_says(denoised):
    """How many tokens and spans tell which of the seven it was: a mode's texts are of its own denoisers alone."""
    counts = np.zeros(len(DENOISERS))
    for mode, spans, length in denoised:
        if length < 100:
            continue
        here = [n for n, denoiser in enumerate(DENOISERS) if _asked(denoiser, length) == (spans.sum(), len(spans))]
        assert [MODES[mode]] == list({DENOISERS[n].mode for n in here})
        counts[here] += 1 / len(here)
    assert counts.sum() > 100
    expected = counts.sum() / len(DENOISERS)
    assert ((counts - expected) ** 2 / expected).sum() < 16.8, "chi squared, 6 degrees of freedom, 1 %"


def test_the_rest_of_a_text_is_one_span_across_the_border_of_documents():
    """Short documents, several in a row: between two of them stands [SEP]."""
    short = corpus_of(shards=1, documents=800, sentences=2, words=8)
    _, read, written, tokenizer = drawn(MixtureOfDenoisers(), short, rows=150, form="full_sentences")
    marks = set(tokenizer.ids(tokenizer.extra[len(MODES) :]).tolist())
    (rest,) = tokenizer.ids(["[S]"]).tolist()
    prefixes = [told for given, told in zip(read, written, strict=True) if rest in given]
    assert len(prefixes) > 10
    assert all(sum(token in marks for token in told) == 2 for told in prefixes), "its own, and the one that ends it"
    assert any(tokenizer.sep in told[:-2] for told in prefixes)


def _asked(denoiser, length):
    """Tokens and spans that are hidden of a text, as T5's code rounds them."""
    hidden = round(length * denoiser.rate)
    return hidden, max(round(hidden / denoiser.span), 1)


def test_a_prefix_is_what_is_left_where_the_end_is_hidden(denoised):
    for mode, spans, length in denoised:
        if MODES[mode] == "[S]":
            assert len(spans) == 1 and spans[0] == max(round(length / 4), 1)


def test_more_spans_than_marks_are_refused(corpus):
    with pytest.raises(UserError, match=r"mixture_of_denoisers.sentinels 5: .* about 21 spans; 27 would fit"):
        drawn(MixtureOfDenoisers(sentinels=5), corpus)


ASKED = {"masked_lm": {"mixing_rate": 0.75}, "contrastive": {"mixing_rate": 0.25}}


class TestShares:
    """Objectives of which each step asks one."""

    def test_each_step_asks_one_as_often_as_its_share_says(self, corpus):
        work = pretraining(corpus, ASKED)
        asked = [tuple(work.batches(step)[0].targets) for step in range(400)]
        assert set(asked) == {("masked_lm",), ("contrastive",)}
        assert abs(asked.count(("masked_lm",)) - 300) < 4 * 400**0.5 * (0.75 * 0.25) ** 0.5
        assert asked[:20] == [tuple(work.batches(step)[0].targets) for step in range(20)], "by the step alone"

    def test_what_has_no_share_is_asked_in_every_step(self, corpus):
        given = {"masked_lm": {}, "next_sentence": {"mixing_rate": 0.5}, "sentence_order": {"mixing_rate": 0.5}}
        work = pretraining(corpus, given)
        asked = {tuple(sorted(work.batches(step)[0].targets)) for step in range(30)}
        assert asked == {("masked_lm", "next_sentence"), ("masked_lm", "sentence_order")}

    def test_all_are_asked_of_held_out_text_and_of_frequencies(self, corpus):
        work = pretraining(corpus, ASKED)
        figures = work.evaluate()
        assert {"loss/masked_lm", "loss/contrastive"} <= set(figures)
        expected = 0.75 * figures["loss/masked_lm"] + 0.25 * figures["loss/contrastive"]
        assert figures["loss"] == pytest.approx(expected), "as a step has it on average"
        assert "loss/masked_lm" in work.by_frequency()

    def test_one_head_that_two_objectives_ask(self, corpus):
        """Decoders are asked for one text in a step, for others in other steps; their losses are one mean."""
        given = {"span_corruption": {"mixing_rate": 0.5}, "prefix_lm": {"mixing_rate": 0.5}}
        work = pretraining(corpus, given, "t5-tiny")
        marks = set(work.plan.corpus.tokenizer.ids(SpanCorruption().extra_tokens()).tolist())
        batches = [work.batches(step)[0] for step in range(20)]
        marked = [bool(marks & set(batch.streams["encoder"].tokens.tolist())) for batch in batches]
        assert True in marked and False in marked
        assert all(list(work.losses(batch)) == ["decoder_lm"] for batch in batches)

    @pytest.mark.parametrize(
        ("given", "told"),
        [
            ({"masked_lm": {"mixing_rate": 0.5}}, r"masked_lm.mixing_rate 0.5 draws one of several, and no other"),
            ({"masked_lm": {"mixing_rate": 0.5}, "contrastive": {"mixing_rate": 0.6}}, "add up to 1.1"),
            ({"masked_lm": {"mixing_rate": 1.0}}, "less than 1"),
            (
                {"masked_lm": {"mixing_rate": 0.5}, "causal_lm": {"mixing_rate": 0.5}},
                "causal_lm makes the model a decoder, which masked_lm cannot train",
            ),
            (
                {"span_corruption": {}, "prefix_lm": {"mixing_rate": 0.5}, "deshuffling": {"mixing_rate": 0.5}},
                "asked for one text",
            ),
            (
                {"masked_lm": {"unit": "span", "mixing_rate": 0.5}, "span_boundary": {"mixing_rate": 0.5}},
                "span_boundary",
            ),
            (
                {"span_corruption": {"mixing_rate": 0.5, "weight": 2.0}, "prefix_lm": {"mixing_rate": 0.5}},
                "one head, decoder_lm; give both the same weight",
            ),
        ],
    )
    def test_what_does_not_go_together_is_refused(self, given, told):
        with pytest.raises(ValidationError, match=told):
            Pretrain(corpus="corpus", out="out", objective=given)

    def test_a_picture_shows_what_is_asked_together(self):
        with pytest.raises(ValidationError, match="leave mixing_rate out"):
            Inspect(what="corruption", texts=["a text"], objective=ASKED)


def pretraining(corpus, given, model="bert-tiny"):
    """What the loop is given."""
    config = Pretrain(corpus="corpus", out="out", model=model, length=64, batch_size=4, objective=given)
    corpus.tokenizer = corpus.tokenizer.plus(config.extra_tokens)
    config = config.resolved(corpus.tokenizer.size)
    plan = Plan(corpus, config.input_format, 64, 4)
    network, place = network_of(config.shape, config.objectives.values()), Placement(torch.device("cpu"), torch.float32)
    return Pretraining(network, config.objectives, plan, plan, config, place)


def test_pictures_show_each_mode():
    shown = sheet({"mixture_of_denoisers": MixtureOfDenoisers()}, []).shown
    assert [one.words for one in shown] == sorted(MODES) and sum(one.times for one in shown) == 64
    for one, mode in zip(shown, sorted(MODES), strict=True):
        (tokens,) = one.picture.views["encoder"].sequences
        assert (tokens[1].text, tokens[1].state, tokens[1].was) == (mode, "special", None)


def test_the_logged_loss_is_a_steps_on_average(tmp_path):
    """Though in a line of metrics one objective may have been asked seldom, or not at all."""
    lines = [" ".join(words).capitalize() + "." for words in sentences(200)]
    (tmp_path / "text.txt").write_text("\n\n".join("\n".join(lines[n : n + 10]) for n in range(0, 200, 10)))
    unmask.prepare([str(tmp_path / "text.txt")], out=tmp_path / "corpus", vocab_size=120, valid=0.05)
    model = {"name": "bert-tiny", "width": 32}
    few = {"length": 32, "batch_size": 8, "steps": 12, "log_every": 3, "eval_every": 12}
    unmask.pretrain(tmp_path / "corpus", objective=ASKED, model=model, out=tmp_path / "run", **few, **EXACT)
    found = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    found = [line for line in found if line["split"] == "train"]
    one, other = Pretrain(corpus="corpus", out="out", model="bert-tiny", objective=ASKED).objectives
    first = [bool(generator("objective", 1, step).random() < ASKED[one]["mixing_rate"]) for step in range(12)]
    assert sum(first) not in (0, 12) and len(found) == 4
    for line, n in zip(found, range(0, 12, 3), strict=True):
        asked = {one: sum(first[n : n + 3]), other: 3 - sum(first[n : n + 3])}
        assert {head for head, times in asked.items() if times} == {k[5:] for k in line if k.startswith("loss/")}
        expected = sum(times / 3 * line[f"loss/{head}"] for head, times in asked.items() if times)
        assert line["loss"] == pytest.approx(expected, rel=1e-6)
