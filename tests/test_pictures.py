"""Pictures of what objectives do: that they tell the truth, whatever draws them, and whatever the text."""

import re
import xml.etree.ElementTree as ET
from io import StringIO

import numpy as np
import pytest
import torch
from rich.cells import cell_len
from rich.console import Console

from test_every_objective import network_of, usual
from unmask.calls import call
from unmask.commandline.program import main
from unmask.commands.inspect import Inspect
from unmask.config import folder
from unmask.errors import UserError
from unmask.insight import changes, html, passages, seeing, svg, terminal
from unmask.insight.examples import Drawer
from unmask.insight.grid import path, sight, width_of
from unmask.insight.picture import Painter
from unmask.insight.sheet import sheet, text_for
from unmask.nn.batch import collate
from unmask.objectives.base import in_turn
from unmask.objectives.masked_lm import MaskedLM
from unmask.text.example import Example, Stream, Targets
from unmask.text.sampling.plan import formats
from unmask.text.tokens.tokenizer import Tokenizer

each = pytest.mark.parametrize("name", sorted(folder("unmask.objectives")))
LONG = "".join(passages.TEXTS["en"]) + " It is the same word that is the word it was."


def asked_of(name, **settings):
    """An objective and what it needs."""
    known = folder("unmask.objectives")
    needed = {other: known[other](**given) for other, given in known[name].needs.items()}
    return in_turn({**needed, name: known[name](**settings)})


def drawer_of(name, text=LONG, **settings):
    objectives = asked_of(name, **settings)
    return Drawer(objectives, [text], passages.vocabulary([text]), "en", formats(objectives)[0])


# --- what became of the tokens ---------------------------------------------------------------------------------------


@each
def test_every_token_can_be_followed(name):
    """What is drawn is exactly what a model is given, and where its tokens come from is known, not guessed."""
    drawer, given = drawer_of(name), False
    for seed in range(8):
        drawn = drawer.draw(seed)
        plain = drawer._stages(drawer.trail.plain, drawer.trail.plain_tokenizer, seed)[1]
        for stream in drawn.after.streams:
            numbers = drawn.after.streams[stream].tokens
            assert np.array_equal(drawer.trail.tokens_of[numbers], plain.streams[stream].tokens)
        given |= any(drawer.trail.is_given(stream.tokens).any() for stream in drawn.after.streams.values())
    assert given  # not in every draw: one may hide all (masked_diffusion)


def test_hidden_random_and_kept_are_what_masking_did():
    drawer = drawer_of("masked_lm", rate=0.5)
    tokenizer, counts = drawer.trail.plain_tokenizer, dict.fromkeys(("hidden", "random", "kept"), 0)
    for seed in range(40):
        drawn = drawer.draw(seed)
        view = Painter(drawer).paint(drawn).views["encoder"]
        tokens = drawer.trail.tokens_of[drawn.after.streams["encoder"].tokens]
        asked = drawn.after.targets["masked_lm"]
        answers = dict(zip(asked.index.tolist(), drawer.trail.tokens_of[asked.labels].tolist(), strict=True))
        for token in view.tokens:
            assert bool(token.answers) == (token.place in answers)
            if token.place not in answers:
                assert token.state in ("seen", "special")
                continue
            counts[token.state] += 1
            assert token.answers == (("masked_lm", tokenizer.tokens([answers[token.place]])[0]),)
            assert (token.state == "hidden") == (tokens[token.place] == tokenizer.mask)
            if token.state == "kept":
                assert tokens[token.place] == answers[token.place]
    total = sum(counts.values())
    assert abs(counts["hidden"] / total - 0.8) < 0.05
    # a random token that happens to be the one that was there is random all the same
    assert abs(counts["random"] / total - 0.1) < 0.04
    assert abs(counts["kept"] / total - 0.1) < 0.04


def test_moved_tokens_are_told_from_random_ones_though_words_repeat():
    drawer = drawer_of("structural", rate=1.0)
    painter = Painter(drawer)
    for seed in range(10):
        drawn = drawer.draw(seed)
        tokens = painter.paint(drawn).views["encoder"].tokens
        before, after = (example.streams["encoder"].tokens for example in (drawn.before, drawn.after))
        moved = [token.place for token in tokens if token.state == "moved"]
        assert moved == np.flatnonzero(before != after).tolist()
        assert not any(token.state == "random" for token in tokens)


def test_texts_of_other_documents_are_known_by_where_they_came_from():
    drawer = drawer_of("next_sentence")
    painter, found = Painter(drawer), set()
    for seed in range(20):
        drawn = drawer.draw(seed)
        view = painter.paint(drawn).views["encoder"]
        (said,) = view.said
        elsewhere = any(token.elsewhere for token in view.tokens)
        assert elsewhere == (said.answer == "B is from another document")
        found.add(elsewhere)
    assert found == {True, False}


def laid(before, after, whole=True):
    """Numbers below 10 are special."""
    special = np.arange(200) < 10
    found = changes.aligned(np.array(before), np.array(after), special, whole)
    return [(change.state, change.place, change.was) for change in found]


def test_what_was_taken_out_stands_where_it_was():
    assert laid([1, 20, 21, 22, 2], [1, 20, 22, 2]) == [
        ("special", 0, None), ("seen", 1, None), ("removed", None, [21]), ("seen", 2, None), ("special", 3, None),
    ]  # fmt: skip
    assert all(state != "removed" for state, *_ in laid([1, 20, 21, 22, 2], [1, 20, 22, 2], whole=False))


def test_a_mask_stands_for_all_that_it_replaced_or_for_nothing():
    found = laid([1, 20, 21, 22, 23, 2], [1, 20, 5, 23, 5, 2])
    assert found[2] == ("hidden", 2, [21, 22])
    assert found[4] == ("hidden", 4, [])
    assert [state for state, *_ in found] == ["special", "seen", "hidden", "seen", "hidden", "special"]


def test_sentences_that_changed_places_are_moved_and_new_tokens_are_not():
    found = laid([1, 20, 21, 22, 23, 24, 2], [1, 23, 24, 20, 21, 22, 2, 50])
    assert {place for state, place, _ in found if state == "moved"} in ({1, 2}, {3, 4, 5})
    assert found[-1] == ("random", 7, None)
    assert not any(state == "removed" for state, *_ in found)


class Noise(MaskedLM):
    """BART's noise in small: a span and nothing infilled, a token deleted; a decoder writes the text."""

    def corrupt(self, example, tokenizer, chance):
        clean, mask, sep = example.streams["encoder"].tokens, tokenizer.mask, tokenizer.sep
        noisy = np.concatenate([clean[:3], [mask], clean[6:8], [mask], clean[8:9], clean[10:]])
        encoder = Stream(noisy, np.array([len(noisy)]))
        decoder = Stream(np.append(sep, clean[:-1]), np.array([len(clean)]), reads="encoder")
        asked = Targets(np.arange(len(clean)), clean.astype(np.int64), "decoder")
        return Example({"encoder": encoder, "decoder": decoder}, {"masked_lm": asked})


def test_what_masks_of_an_encoder_stand_for_and_what_its_decoder_writes():
    (one,) = sheet({"masked_lm": Noise()}, []).shown
    encoder, decoder = one.picture.views["encoder"], one.picture.views["decoder"]
    told = [(token.text, token.state, token.was) for token in encoder.sequences[0]]
    assert told[3] == ("[MASK]", "hidden", "know a word") and told[6] == ("[MASK]", "hidden", "")
    assert [text for text, state, _ in told if state == "removed"] == ["##any"]
    assert {token.state for token in decoder.tokens} == {"seen", "special"}
    assert [token.answers[0][1] for token in decoder.tokens[:-1]] == [token.text for token in decoder.tokens[1:]]
    assert not any(token.was for token in decoder.tokens)
    for width in (60, 120):
        assert "(nothing)" in printed(sheet({"masked_lm": Noise()}, []), width)


# --- who may see whom ------------------------------------------------------------------------------------------------


def states_of(network, batch):
    batch.forget()
    with torch.no_grad():
        return {name: network.states(batch, name) for name in batch.streams}


@each
def test_a_model_sees_what_the_matrices_show(name):
    """Each token in turn is replaced by another one, and those whose states change are those that see it."""
    objectives = asked_of(name)
    text = text_for(objectives, "en")
    drawer = Drawer(objectives, [text], passages.vocabulary([text]), "en", formats(objectives)[0])
    network = network_of(objectives, usual(objectives.values())).eval()
    for seed in range(4):
        after = drawer.trail.untraced(drawer.draw(seed).after)
        batch = collate(after)
        before = states_of(network, batch)
        for matrix in seeing.matrices(after, drawer.reading):
            if drawer.reading == "in turn" and matrix.streams != ("encoder",):
                continue  # read by decoders, not by the model
            changed, column = np.zeros_like(matrix.sees), 0
            for stream in matrix.streams:
                tokens = batch.streams[stream].tokens
                for place, token in enumerate(tokens.tolist()):
                    tokens[place] = 900 + place
                    now = states_of(network, batch)
                    tokens[place] = token
                    rows = [(now[other] != before[other]).any(-1) for other in matrix.streams]
                    changed[:, column] = torch.cat(rows).numpy()
                    column += 1
            assert np.array_equal(changed, matrix.sees)


def test_a_recurrent_model_reads_in_turn():
    stream = Stream(np.arange(7), np.array([1, 6]))
    words = "Tokens are read in turn, and a state knows those read so far; the first comes last, and knows all."
    assert words in seeing.in_words(Example({"encoder": stream}), "in turn")
    assert seeing.in_words(Example({"encoder": stream}), "left") != words


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (None, "Every token sees every other."),
        ([0, 1, 2, 3], "Each token sees itself and those before it."),
        ([0, -1, -2, -3], "Each token sees itself and those after it."),
        ([0, 0, 2, 3], "Those that come first see each other; each later one sees these, itself and those before it."),
        ([2, 0, 3, 1], "Each token sees those whose number in the order is not above its own."),
    ],
)
def test_ways_of_seeing_in_words(order, words):
    stream = Stream(np.arange(4), np.array([4]), order=None if order is None else np.array(order))
    assert seeing.in_words(Example({"encoder": stream})) == words


def test_a_decoder_sees_its_encoder_and_no_other_sequence():
    encoder = Stream(np.arange(5), np.array([2, 3]))
    decoder = Stream(np.arange(3), np.array([1, 2]), reads="encoder")
    example = Example({"encoder": encoder, "decoder": decoder})
    (matrix,) = seeing.matrices(example)
    assert matrix.streams == ("encoder", "decoder") and matrix.borders == [2, 5, 6]
    assert not matrix.sees[:5, 5:].any()
    assert matrix.sees[5:].astype(int).tolist() == [
        [1, 1, 0, 0, 0, 1, 0, 0],
        [0, 0, 1, 1, 1, 0, 1, 0],
        [0, 0, 1, 1, 1, 0, 1, 1],
    ]


def test_shapes_and_ranges_say_what_the_matrix_says():
    sees = np.array([[1, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 1, 0]], bool)
    assert sight(sees) == ["0-1 3-3", "", "0-3", "1-2"]
    drawn = np.zeros_like(sees)
    for x, y, width in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\d+z", path(sees)):
        drawn[int(y), int(x) : int(x) + int(width)] = True
    assert np.array_equal(drawn, sees)


# --- outcomes --------------------------------------------------------------------------------------------------------


def test_everything_that_chance_may_decide_is_shown():
    assert [one.words for one in sheet(asked_of("next_sentence"), []).shown] == [
        "B follows A", "B is from another document",
    ]  # fmt: skip
    assert len(sheet(asked_of("structural"), []).shown) == 3
    ways = [one.words for one in sheet(asked_of("unified_lm"), []).shown]
    assert len(ways) == 4 and len(set(ways)) == 4
    assert [one.words for one in sheet(asked_of("masked_lm"), []).shown] == [""]


@each
def test_something_is_asked_in_every_picture(name):
    for language in passages.TEXTS:
        found = sheet(asked_of(name), [], language=language)
        assert all(any(view.asks for view in one.picture.views.values()) for one in found.shown)
        assert not any("Nothing is asked" in note for note in found.notes)
        assert sum(one.times for one in found.shown) == found.shown[0].draws


def test_it_is_said_where_nothing_is_asked():
    assert "Nothing is asked of this text" in printed(sheet(asked_of("next_sentence"), ["One sentence only."]))


def test_a_seed_shows_its_own_draw():
    (one,) = sheet(asked_of("masked_lm"), ["a text of some words that is long enough"], seed=5).shown
    assert one.picture.seed == 5 and not one.words


# --- the text --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "Internationalization of lighthousekeepers, lighthouse and lightning.",
        "我喜欢苹果，也喜欢苹果公司。",
        "日本語のテキスト نص عربي 🙂",
        "a [MASK] in the text is text <script>alert(1)</script>",
        "x" * 120,
    ],
)
def test_a_vocabulary_of_the_text_knows_the_text(text):
    tokenizer = passages.vocabulary([text])
    (pieces,) = tokenizer.encode([text], specials=False)
    assert (tokenizer.unk in pieces.ids) == (len(text) == 120)  # WordPiece gives up on words of more than a hundred
    longest = max(map(len, tokenizer.tokens(pieces.ids)))
    assert longest <= passages.LONGEST + 2 or "lighthousekeepers" in text or longest == len("[UNK]")


def test_what_a_generator_draws_is_shown_as_drawn():
    """Where it saw masks, and nowhere else; whether that is another token nobody knows yet."""
    (one,) = sheet(asked_of("replaced_token_detection"), ["a text of some words that is long enough"], seed=5).shown
    read, drawn = one.picture.views["encoder"].tokens, one.picture.views["generator"].tokens
    assert any(token.state == "drawn" for token in read)
    for token, guessed in zip(read, drawn, strict=True):
        answers = dict(guessed.answers)
        assert (token.state == "drawn") == bool(answers)
        told = ("?", answers["generator"], "replaced?") if answers else (guessed.text, None, "original")
        assert (token.text, token.was, dict(token.answers)["replaced_token_detection"]) == told


def test_what_looks_like_a_mask_in_the_text_is_text():
    (one,) = sheet(asked_of("masked_lm"), ["a [MASK] in the text is text"], seed=1).shown
    tokens = [(token.text, token.state) for token in one.picture.views["encoder"].tokens]
    assert ("MASK", "seen") in tokens and ("[MASK]", "special") not in tokens


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram", "characters"])
def test_any_tokenizer_can_be_used(kind):
    tokenizer = Tokenizer.train([LONG] * 3 + ["要知道一个词的意思。"] * 3, kind, 300)
    (one,) = sheet(asked_of("masked_lm"), ["a word 词的"], tokenizer=tokenizer, seed=0).shown
    shown = "".join(token.text.replace("▁", " ") for token in one.picture.views["encoder"].tokens)
    assert "�" not in shown and "Ġ" not in shown


# --- drawings --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two():
    return sheet(in_turn({**asked_of("masked_lm"), **asked_of("next_sentence")}), [])


def test_the_page_needs_nothing_but_itself(two):
    page = html.page(two)
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(address.startswith(("https://arxiv.org/abs/", "#")) for address in addresses)
    assert "url(" not in page and "default-src 'none'" in page
    for words in ("Masked language modelling", "Next sentence prediction", "B follows A", "B is from another document"):
        assert words in page


def test_text_cannot_become_markup():
    found = sheet(asked_of("masked_lm"), ['a <script>alert("x")</script> & more'])
    for drawn in (html.page(found), svg.picture(found)):
        assert "alert(" not in drawn or "<script>alert" not in drawn
    ET.fromstring(svg.picture(found))


@each
def test_nothing_lies_outside_its_picture_or_on_its_neighbour(name):
    space = "{http://www.w3.org/2000/svg}"
    for language in passages.TEXTS:
        root = ET.fromstring(svg.picture(sheet(asked_of(name), [], language=language)))
        width, height = float(root.get("width")), float(root.get("height"))
        boxes = [
            [float(box.get(side)) for side in ("x", "y", "width", "height")]
            for box in root.findall(f"{space}rect")
            if box.get("class") != "sheet"
        ]
        assert boxes
        for x, y, w, h in boxes:
            assert x >= 0 and y >= 0 and x + w <= width and y + h <= height
        for n, (x, y, w, h) in enumerate(boxes):
            for a, b, c, d in boxes[n + 1 :]:
                assert x + w <= a or a + c <= x or y + h <= b or b + d <= y
        for text in root.findall(f"{space}text"):
            size = width_of(text.text or "", 11.5)
            assert float(text.get("y")) < height
            if text.get("text-anchor") == "middle":
                assert float(text.get("x")) + size / 2 <= width + 4


def printed(found, width=80, **settings):
    out = StringIO()
    terminal.write(found, Console(file=out, width=width, highlight=False, **settings))
    return out.getvalue()


@pytest.mark.parametrize("width", [30, 80, 200])
def test_no_line_is_wider_than_the_terminal(width, two):
    for found in (two, sheet(asked_of("unified_lm"), [], language="zh")):
        assert max(map(cell_len, printed(found, width).rstrip("\n").split("\n"))) <= width


def test_without_colours_marks_tell_what_became_of_a_token():
    found = sheet(asked_of("masked_lm"), [])
    states = found.legend
    told = printed(found)
    assert "\x1b" not in told
    for state, mark in terminal.MARKS.items():
        assert (mark.format(state) in told) == (state in states)
    assert "\x1b[" in printed(found, force_terminal=True, color_system="standard")


def test_a_matrix_is_printed_where_words_do_not_say_all():
    assert "■" not in printed(sheet(asked_of("masked_lm"), []))
    assert printed(sheet(asked_of("unified_lm"), [])).count("■") > 300


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_prints_or_writes(tmp_path, capsys):
    assert main(["inspect", "corruption", "a text of some words", "--objective", "masked_lm,sentence_order"]) == 0
    told = capsys.readouterr().out
    assert "masked_lm" in told and "sentence_order" in told
    for name in ("page.html", "deep/picture.svg"):
        assert main(["inspect", "corruption", "a text of some words", "--out", str(tmp_path / name)]) == 0
        assert (tmp_path / name).stat().st_size > 1000
        assert capsys.readouterr().out.strip() == str(tmp_path / name)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("corruption --out a.png", "--out: a.png is neither a page (.html) nor a picture (.svg)"),
        (
            "corruption --objective span_boundary",
            "--objective masked_lm,span_boundary --objective.masked_lm.unit span would fit",
        ),
        ("corruption --objective nothing", "there is no 'nothing'"),
        ("attention", "must be corruption"),
        ("corruption --tokenizer nowhere", "nowhere"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(words, told, capsys):
    assert main(["inspect", *words.split()]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [("word " * 300, "300 tokens; a picture shows 256 at most"), ("  ", "one of the texts has no words")],
)
def test_texts_that_cannot_be_drawn_are_refused(text, told):
    with pytest.raises(UserError, match=told):
        call(Inspect, "corruption", [text])


def test_a_corpus_or_run_lends_its_tokenizer(tmp_path):
    Tokenizer.train([LONG] * 3, "wordpiece", 200).save(tmp_path)
    found = call(Inspect, "corruption", [LONG], tokenizer=tmp_path, out=tmp_path / "a.html")
    assert not found.own_words
    text = text_for(asked_of("masked_lm"), "en")
    assert call(Inspect, "corruption", out=tmp_path / "b.html").texts == [text]
