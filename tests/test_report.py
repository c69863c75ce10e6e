"""Pages: complete, self-contained, and harmless whatever the text holds."""

import json
import re
from html.parser import HTMLParser

import pytest
import vl_convert
import yaml

import run_folders
from unmask.commands.pretrain import Pretrain
from unmask.config import build, to_yaml
from unmask.errors import UserError
from unmask.models.shape import Shape
from unmask.report import charts, samples, tables, words, write_card, write_overview, write_report
from unmask.report.card import plain
from unmask.report.run import Scores, read_run
from unmask.runs.idle import idle

HOSTILE = "</script><script>alert(1)</script><img src=https://evil.example/x onerror=alert(1)>\"'`{{7*7}}<!--&amp;"


class Page(HTMLParser):
    """The tags and the visible text of a page."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text, self.scripts, self._open = [], "", [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag):
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data):
        if "script" in self._open:
            self.scripts.append(data)
        elif "style" not in self._open:
            self.text += data

    def names(self):
        return [tag for tag, _ in self.tags]

    def specs(self):
        (number,) = [i for i, (_, a) in enumerate(t for t in self.tags if t[0] == "script") if a.get("id") == "charts"]
        return json.loads(self.scripts[number])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    run_folders.pretrain(root / "a")
    run_folders.classify(root / "random", "random", 0.79)
    other = json.loads((root / "random" / "result.json").read_text())
    baseline = {"title": "random weights", **{key: other[key] for key in ("figures", "by_seed", "spread")}}
    run_folders.classify(root / "c", "pretrained", 0.87, baseline=baseline)
    run_folders.tag(root / "t")
    return root


def change(folder, name, **values):
    content = json.loads((folder / name).read_text(encoding="utf-8"))
    (folder / name).write_text(json.dumps({**content, **values}), encoding="utf-8")


def test_a_pretraining_page_shows_what_was_done_and_found(folders):
    page = Page(write_report(folders / "a"))
    for shown in (
        "2.5 M tokens",
        "9,210 documents",
        "2,000 steps",
        "47.1%",
        "2.884",
        "tokens per word",
        "objective.masked_lm.rate",
    ):
        assert shown in page.text
    assert "capital ✓" in page.text and "83.0 %" in page.text
    assert "The text had: bridge" in page.text
    assert len(page.specs()) == 5  # loss, accuracy, lr, gradient norm, tokens a second


def test_a_finetuning_page_has_scores_of_every_seed_and_what_pretraining_bought(folders):
    page = Page(write_report(folders / "c"))
    result = read_run(folders / "c").result
    for score in (*result.by_seed["accuracy"], *result.by_seed["f1"]):
        assert f"{score:.3f}" in page.text
    for scores in (result, result.baseline):
        assert f"{scores.figures['accuracy']:.3f} ± {scores.spread['accuracy']:.3f}" in page.text
    assert "What pre-training bought" in page.text and "395" in page.text
    assert page.text.index("so bad it is good") < page.text.index("a fine film")  # the wrong ones first
    assert "(1,000 characters)" in page.text


def test_a_taggers_page_shows_words_with_true_and_wrong_labels(folders):
    page = Page(write_report(folders / "t"))
    assert "✗ B-NP" in page.text and "reckons" in page.text
    assert "script" not in page.names()  # no curves, no script


def test_every_chart_is_one_that_vega_takes(folders):
    for name in ("a", "c"):
        for spec in Page(write_report(folders / name)).specs():
            drawn = vl_convert.vegalite_to_svg({**spec, "width": 300})
            assert "<svg" in drawn and "<path" in drawn


def test_no_request_leaves_a_page(folders):
    for path in (
        write_report(folders / "a"),
        write_report(folders / "c"),
        write_overview([folders / "a"], folders / "o.html"),
    ):
        page = Page(path)
        assert not [tag for tag, attrs in page.tags if tag in ("link", "img", "iframe") or "src" in attrs]
        assert not [a["href"] for tag, a in page.tags if tag == "a" and "://" in a["href"]]
        policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
        assert policy.startswith("default-src 'none'") and "unsafe-eval" not in policy
        assert re.search(r"script-src 'sha256-[\w+/=]+'$", policy)
        assert path.stat().st_size < 1_500_000


def hostile_runs(root):
    run_folders.pretrain(root / "a", title=HOSTILE, data={HOSTILE: HOSTILE}, chosen={"corpus": HOSTILE}, language="en")
    change(
        root / "a",
        "samples.json",
        fill=[{"text": HOSTILE, "masks": [{"truth": HOSTILE, "guesses": [[HOSTILE, 0.5]]}]}],
    )
    (root / "a" / "config.yaml").write_text(f"corpus: {json.dumps(HOSTILE)}\n")
    for init in ("pretrained", "random"):
        folder = run_folders.classify(root / init, init, dataset=HOSTILE, base=0.8, title=HOSTILE)
        change(folder, "result.json", base=HOSTILE, baseline={"title": HOSTILE, "figures": {"accuracy": 0.5}})
        change(
            folder,
            "samples.json",
            predictions=[{"text": [HOSTILE, HOSTILE], "truth": HOSTILE, "predicted": "b", "probability": None}],
            confusion={"labels": [HOSTILE, "b"], "counts": [[0, 1], [0, 0]]},
            labels={HOSTILE: {"f1": 0.0}},
        )
        with (folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({"step": 700, "split": "valid", f"loss/{HOSTILE}": 1.0, "seed": 1}) + "\n")
    tagger = run_folders.tag(root / "t", title=HOSTILE, model={"name": HOSTILE})
    words_ = {"words": [HOSTILE], "truth": [HOSTILE], "predicted": ["O"]}
    change(tagger, "samples.json", predictions=[words_])
    return [root / name for name in ("a", "pretrained", "random", "t")]


def test_hostile_text_stays_text(tmp_path, folders):
    runs = hostile_runs(tmp_path)
    pages = [Page(write_report(run)) for run in runs] + [Page(write_overview(runs, tmp_path / "o.html", HOSTILE))]
    for page in pages:
        assert "img" not in page.names()
        assert page.names().count("script") in (0, 2)
        assert not [attrs for _, attrs in page.tags if "onerror" in attrs]
        assert HOSTILE in page.text
    assert any(HOSTILE in json.dumps(spec, ensure_ascii=False).replace('\\"', '"') for spec in pages[-1].specs())


def test_a_page_needs_nothing_but_a_result(tmp_path):
    (tmp_path / "result.json").write_text('{"kind": "pretrain"}')
    assert tmp_path.name in Page(write_report(tmp_path)).text
    assert "# " in write_card(tmp_path).read_text()


def test_a_run_without_held_out_text_says_so(tmp_path):
    folder = run_folders.pretrain(tmp_path / "a", figures={})
    assert "No text was held out" in Page(write_report(folder)).text


def test_lost_numbers_are_said(tmp_path):
    folder = run_folders.pretrain(tmp_path / "a", figures={"loss": float("nan")})
    assert "Not a finite number: figures.loss." in Page(write_report(folder)).text


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("result.json", None, "no result.json"),
        ("result.json", "{", "result.json: not a JSON file"),
        ("result.json", '{"kind": "compare"}', "result.json: kind: .*'pretrain' or 'finetune'"),
        ("samples.json", '{"fill": [{"text": 3, "masks": []}]}', r"samples.json: fill.0.text"),
        ("metrics.jsonl", "oops\n", "metrics.jsonl, line 1"),
    ],
)
def test_bad_files_are_named(tmp_path, name, content, said):
    (tmp_path / "result.json").write_text('{"kind": "pretrain"}')
    (tmp_path / name).unlink(missing_ok=True)
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=said) as error:
        write_report(tmp_path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "report.html").exists()


def test_an_overview_sets_pretrained_beside_random(folders):
    out = write_overview([folders / name for name in ("a", "c", "random", "t")], folders / "report.html", "All")
    page = Page(out)
    mine, its = (read_run(folders / name).result.figures["accuracy"] for name in ("c", "random"))
    assert f"{mine - its:+.3f}" in page.text
    assert "1 of 1 tasks came out better" in page.text
    assert f"<strong>{mine:.3f}" in out.read_text() and f"<strong>{its:.3f}" not in out.read_text()
    links = [attrs["href"] for tag, attrs in page.tags if tag == "a"]
    assert links == [f"{name}/report.html" for name in ("a", "c", "random", "t")]


def test_an_overview_of_nothing_is_refused(tmp_path):
    with pytest.raises(UserError, match="at least one"):
        write_overview([], tmp_path / "o.html")


def test_a_loss_no_better_than_frequencies_is_called_that(tmp_path):
    figures = {"loss": 6.3, "loss/masked_lm": 6.3, "accuracy/masked_lm": 0.07}
    baseline = {"title": "answers by frequency", "figures": {"loss/masked_lm": 6.2}}
    behind = run_folders.pretrain(tmp_path / "a", figures=figures, baseline=baseline)
    assert "loss, masked lm of 6.300 is no better than the 6.200" in words.summary(read_run(behind))
    ahead = run_folders.pretrain(tmp_path / "b", figures={**figures, "loss/masked_lm": 6.1}, baseline=baseline)
    assert "no better" not in words.summary(read_run(ahead))


def test_of_several_seeds_it_is_said_which_was_kept(tmp_path):
    run = run_folders.classify(tmp_path / "a", best_seed=2)
    assert "Kept is the model of seed 2" in words.summary(read_run(run))


def test_a_gain_within_the_seeds_spread_is_called_that(tmp_path):
    baseline = {"title": "random weights", "figures": {"accuracy": 0.866}, "spread": {"accuracy": 0.02}}
    near = run_folders.classify(tmp_path / "near", baseline=baseline)
    far = run_folders.classify(tmp_path / "far", baseline={**baseline, "figures": {"accuracy": 0.6}})
    assert "it may be chance" in words.summary(read_run(near))
    assert "it may be chance" not in words.summary(read_run(far))


def test_smoothing_keeps_a_line_a_line_and_the_mean_a_mean():
    line = [(step, 2.0 * step) for step in range(0, 1000, 5)]
    assert charts.smoothed(line) == [(step, pytest.approx(value)) for step, value in line]
    jagged = [(step, float(step % 2)) for step in range(1000)]
    assert all(abs(value - 0.5) < 0.05 for _, value in charts.smoothed(jagged)[30:-30])
    assert charts.smoothed([]) == []


@pytest.mark.parametrize("count", [0, 1, 2, 400, 401, 1000, 123_457])
def test_thinning_keeps_both_ends_and_bounds_the_rest(count):
    points = [(step, 0.0) for step in range(count)]
    kept = charts.thinned(points)
    assert len(kept) <= charts.MOST_POINTS + 1 and kept[-1:] == points[-1:] and kept[:1] == points[:1]


def test_a_long_run_has_a_small_page_that_says_so(tmp_path):
    folder = run_folders.pretrain(tmp_path / "long", steps=20_000, lines=2000)
    path = write_report(folder)
    assert path.stat().st_size < 1_500_000
    assert "Of 2,000 logged lines" in Page(path).text


def test_bars_leave_out_what_is_no_share():
    spec = charts.scores(Scores(figures={"f1": 0.5, "loss": 3.0}), Scores(figures={"f1": 0.4, "loss": 4.0}))
    assert {row["row"] for row in spec["data"]["values"]} == {"f1"}
    assert charts.scores(Scores(figures={"loss": 3.0}), Scores(figures={"loss": 4.0})) is None


def test_many_labels_become_a_list_of_the_most_frequent_confusions():
    names = [f"l{i}" for i in range(30)]
    counts = [[0] * 30 for _ in names]
    counts[3][4], counts[5][6], counts[7][7] = 9, 12, 99
    confusion = read_confusion({"labels": names, "counts": counts})
    assert tables.matrix(confusion) is None
    assert tables.confusions(confusion) == [("l5 → l6", [12]), ("l3 → l4", [9])]


def read_confusion(value):
    from unmask.report.run import Confusion

    return Confusion.model_validate(value)


def test_another_mask_token_leaves_the_text_as_it_is():
    fill = read_fill("Paris is ␣ of France.", [["capital", 0.5]])
    assert samples.fills([fill])[0]["parts"] == [("Paris is ␣ of France.", None)]
    fill = read_fill("Paris is the<mask> of France.", [[" capital", 0.5]])
    assert samples.fills([fill])[0]["parts"] == [("Paris is the", " capital"), (" of France.", None)]


@pytest.mark.parametrize(
    ("token", "parts"),
    [("##ing", [("He went", "ing"), (" home.", None)]), ("Ġback", [("He went ", "back"), (" home.", None)])],
)
def test_a_guessed_piece_is_read_as_part_of_its_word(token, parts):
    assert samples.fills([read_fill("He went [MASK] home.", [[token, 0.5]])])[0]["parts"] == parts


def read_fill(text, guesses):
    from unmask.report.run import Fill

    return Fill.model_validate({"text": text, "masks": [{"guesses": guesses}]})


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (9999, "9,999"),
        (12_345, "12.3 k"),
        (999_499, "999 k"),
        (999_999, "1.0 M"),
        (11_034_112, "11.0 M"),
        (2.5e9, "2.5 G"),
    ],
)
def test_counts_in_short(count, said):
    assert words.compact(count) == said


def front(path):
    _, head, body = path.read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(head), body


def test_a_card_has_hugging_faces_front_matter(folders):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    path = write_card(folders / "c")
    head, body = front(path)
    assert head["pipeline_tag"] == "text-classification" and head["license"] == "unknown" and head["language"] == "en"
    result = read_run(folders / "c").result
    (measured,) = huggingface_hub.ModelCard.load(path).data.eval_results[:1]
    assert measured.metric_type == "accuracy" and measured.metric_value == pytest.approx(result.figures["accuracy"])
    assert measured.dataset_name == "sst-2" and measured.dataset_split == "test"
    assert "## Limits" in body and "not calibrated" in body
    assert front(write_card(folders / "a"))[0]["pipeline_tag"] == "fill-mask"


def test_hostile_text_stays_text_in_a_card_too(tmp_path):
    markdown = pytest.importorskip("markdown_it").MarkdownIt("commonmark", {"html": True}).enable("table")
    for run in hostile_runs(tmp_path):
        head, body = front(write_card(run))
        assert head["library_name"] == "unmask"
        html = markdown.render(body)
        assert "<script" not in html and "<img" not in html and "<a " not in html


def test_plain_text_loses_no_sign_in_markdown():
    markdown = pytest.importorskip("markdown_it").MarkdownIt("commonmark")
    text = "a|b `c` *d* _e_ [f](g) <h> \\i &amp; # j"
    parser = HTMLParser(convert_charrefs=True)
    shown = []
    parser.handle_data = shown.append
    parser.feed(markdown.render(plain(text)))
    assert "".join(shown).strip() == text


def test_lines_of_several_seeds_can_be_told_apart(folders):
    seeds = charts.dashes([3, 1, 2, 1])
    assert [seed for seed, _ in seeds] == [1, 2, 3] and len({dash for _, dash in seeds}) == 3
    assert charts.dashes([7, 7]) == [] == charts.dashes([])
    page = write_report(folders / "c").read_text()
    assert re.findall(r"</svg>(seed \d)</li>", page) == ["seed 1", "seed 2", "seed 3"]
    drawn = charts.curves(read_run(folders / "c"))
    assert all(
        len({tuple(dash) for dash in spec["encoding"]["strokeDash"]["scale"]["range"]}) == 3 for _, spec in drawn
    )
    alone = charts.curves(read_run(folders / "a"))
    assert not any("strokeDash" in spec["encoding"] for _, spec in alone)


def test_facts_whose_names_do_not_say_it_are_explained(tmp_path):
    run_folders.pretrain(tmp_path / "a", data={"tokens": 9, "fill": 0.99, "cut sentences": 3})
    page = write_report(tmp_path / "a").read_text()
    assert "<th>fill<small>share of the places in rows that hold tokens</small></th>" in page
    assert "<th>cut sentences<small>" in page and "<th>tokens</th>" in page


@pytest.mark.parametrize(
    ("make", "asked"),
    [(run_folders.tag, '[["He", "reckons", "the"'), (run_folders.classify, '["a fine film"]')],
)
def test_the_example_is_what_the_model_can_be_asked(tmp_path, make, asked):
    page = write_report(make(tmp_path / "a")).read_text()
    assert f"model.predict({asked}" in page.replace("&#34;", '"')


def test_settings_that_changed_nothing_are_not_shown(tmp_path):
    given = {"corpus": "c", "out": "o", "decay": 0.5, "eval_every": 9, "lr": 1e-3}
    found = {}
    for schedule, masking, held_out in (("linear", "dynamic", False), ("constant", "static", True)):
        config = build(Pretrain, {**given, "schedule": schedule, "objective.masking": masking, "model": "bert-tiny"})
        found[masking] = config, idle(config, config.model, config.objectives, held_out)
    unused = ["decay", "eval_every", "objective.masked_lm.dupe_factor"]
    window = ["model.global_every", "model.rotary_base", "model.local_rotary_base"]
    assert found["dynamic"][1][:3] == unused and set(window) <= set(found["dynamic"][1])
    assert not set(unused) & set(found["static"][1])
    for masking, (config, paths) in found.items():
        chosen = config.model_dump(mode="json", exclude_defaults=True)
        folder = run_folders.pretrain(tmp_path / masking, chosen=chosen, idle=paths, model=config.model.model_dump())
        (folder / "config.yaml").write_text(to_yaml(config))
        page = write_report(folder).read_text()
        for name in ("decay", "eval_every", "dupe_factor"):
            assert bool(re.search(rf"\b{name}: ", page)) == (masking == "static"), name
        assert "<th>rotary base" not in page and "<th>bias" in page and "lr: 0.001" in page
        assert ("which had no effect here" in page) == (masking == "dynamic")
    modern = Shape(positions="rotary", window=8)
    assert not set(window) & set(idle(config, modern, {}))
    glyphs = {"model.glyph_channels", "model.glyph_size"}
    letters = Shape(embedding="char_cnn", tied=False)
    assert {*glyphs, "model.filters", "model.decoder_layers"} <= set(idle(config, modern, {}))
    assert glyphs <= set(idle(config, letters, {})) and "model.filters" not in idle(config, letters, {})
    assert not glyphs & set(idle(config, Shape(embedding="glyph_cnn", tied=False), {}))
