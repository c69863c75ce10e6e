"""Turn text into a corpus that models can be trained on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from unmask.config import Config
from unmask.text.corpus.corpus import Corpus
from unmask.text.corpus.folders import PHRASES
from unmask.text.corpus.larger import Larger
from unmask.text.corpus.preparation import Prepared, Training
from unmask.text.corpus.preparation import prepare as prepare_corpus
from unmask.text.sources.documents import Boundary, Sources
from unmask.text.sources.tagged import TaggedSources
from unmask.text.tokens.tokenizer import Tokenizer
from unmask.text.tokens.vocabularies import Kind
from unmask.training.progress import Progress, duration


class Prepare(Config):
    """Turn text into a corpus that models can be trained on.

    Repeating the command finishes what was begun; ``overwrite`` starts anew.
    """

    positional: ClassVar[tuple[str, ...]] = ("sources",)

    sources: list[str] = Field(
        min_length=1,
        description="Files and folders of text or tables, packed or not, or hf:NAME for a Hugging Face dataset",
    )
    out: Path = Field(description="The corpus's folder")
    tokenizer: Path | None = Field(
        None,
        description="A vocab.txt, a tokenizer.json or a folder that holds one; none: train one on the sources",
    )
    tokenizer_kind: Kind = Field("wordpiece", description="What to train; bpe is byte-level")
    vocab_size: int = Field(8192, ge=16, le=2**24, description="Entries of the vocabulary to train")
    lowercase: bool | None = Field(
        None, description="Forget case and accents; none: yes when training, else as the tokenizer has it"
    )
    language: str = Field("en", pattern="^[a-z]{2,3}(-.+)?$", description="Whose rules cut sentences (ISO code)")
    text_column: str = Field("text", min_length=1, description="Where tables have the text; a number if without header")
    fields: list[str] = Field(
        [], description="Further columns of tables to keep beside the text, for metadata_lm, such as date,headline"
    )
    documents: Boundary = Field("auto", description="Where documents begin in plain text; auto: after empty lines")
    encoding: str = Field("utf-8", description="Encoding of the sources")
    phrases: Path | Literal["auto"] | None = Field(
        None, description="A file of phrases to find, one a line; auto: those that the text shows (Mikolov 2013)"
    )
    entities: Path | None = Field(None, description="A file of names to find, one a line, such as titles of articles")
    phrase_column: int | None = Field(
        None,
        ge=1,
        description="The sources are words in columns (CoNLL); this one's tags mark phrases: B-NP I-NP O",
    )
    entity_column: int | None = Field(None, ge=1, description="The same for entities: B-PER I-PER O")
    word_column: int | None = Field(
        None, ge=1, description="Column of the words, where the sources are in columns; none: the first"
    )
    valid: float = Field(0.005, ge=0, le=0.5, description="Share of documents held out to watch the loss on; 0: none")
    processes: int | None = Field(None, ge=1, description="Processes that share the work; none: one for each core")
    overwrite: bool = Field(False, description="Delete the corpus in the folder and start anew")

    @model_validator(mode="after")
    def _one_source_each(self) -> Self:
        for name, found, column in (
            ("phrase", self.phrases, self.phrase_column),
            ("entity", self.entities, self.entity_column),
        ):
            if found and column:
                raise ValueError(f"{name}_column {column} and {found} both say what there is; give one of them")
        if self.word_column and not self._columns:
            raise ValueError("word_column is of sources in columns; give phrase_column or entity_column too")
        return self

    @model_validator(mode="after")
    def _fields_are_columns(self) -> Self:
        if self.fields and self._columns:
            raise ValueError("fields are of tables, phrase_column and entity_column of words in columns; give one")
        names = [*self.fields, self.text_column]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"fields: {twice} is named twice, with text_column {self.text_column}; name each once")
        if odd := next((name for name in self.fields if "|" in name or name.startswith("/")), None):
            raise ValueError(f"fields: {odd} cannot be the name of a token; rename the column without | and /")
        return self

    @property
    def _columns(self) -> tuple[tuple[str, int], ...]:
        columns = (("phrases", self.phrase_column), ("entities", self.entity_column))
        return tuple((name, column) for name, column in columns if column)

    def run(self) -> Prepared:
        """Prepare, show how far it is, and say what came of it."""
        sources = self._sources()
        settings = self.model_dump(mode="json", exclude={"out", "processes", "overwrite"})
        with Progress("prepare", max(1, sources.bytes >> 20), unit="MB") as bar:
            done = prepare_corpus(
                sources,
                self.out,
                self._tokenizer(),
                language=self.language,
                valid=self.valid,
                larger=Larger(self.phrases, self.entities),
                settings=settings,
                overwrite=self.overwrite,
                processes=self.processes,
                progress=lambda read, tokens: bar.update(read >> 20, tokens=tokens),
            )
        print(summary(done, 0 if self.tokenizer else self.vocab_size), file=sys.stderr)
        return done

    def _sources(self) -> Sources:
        given = (self.sources, self.text_column, self.documents, self.encoding)
        if self._columns:
            return TaggedSources(*given, word=self.word_column or 1, columns=self._columns)
        return Sources(*given, self.fields)

    def _tokenizer(self) -> Training | Tokenizer:
        if self.tokenizer is not None:
            return Tokenizer.load(self.tokenizer, self.lowercase)
        return Training(self.tokenizer_kind, self.vocab_size, self.lowercase is not False)


def summary(done: Prepared, asked: int) -> str:
    """What a corpus holds, and what was left out of it; ``asked``: entries of the vocabulary, 0 if it was given."""
    corpus, facts = done.corpus, done.corpus.index
    lines = [
        f"{corpus.folder}: {corpus.documents:,} documents, {corpus.sentences:,} sentences, {corpus.words:,} words, "
        f"{corpus.tokens:,} tokens; shards: {corpus.shards}; vocabulary {facts['tokenizer']['size']:,}"
    ]
    if corpus.valid:
        lines.append(
            f"held out in {corpus.valid.folder}: {corpus.valid.documents:,} documents, {corpus.valid.tokens:,} tokens"
        )
    if facts["tokenizer"]["size"] < asked:
        lines.append(f"the vocabulary is smaller than the {asked:,} entries asked for: the text has no more")
    if facts["unknown"]:
        lines.append(
            f"{facts['unknown']:,} tokens ({facts['unknown'] / facts['tokens']:.2%}) unknown to the vocabulary"
        )
    for name, found in facts.get("units", {}).items():
        share = found["tokens"] / facts["tokens"]
        told = f"{name}: {found['of_several_words']:,} of several words, {share:.1%} of all tokens"
        lines.append(told + _source(corpus, name))
    if facts["empty_documents"]:
        lines.append(f"{facts['empty_documents']:,} documents without text left out")
    if facts["split_documents"]:
        lines.append(f"{facts['split_documents']:,} times a document longer than a shard was cut")
    if facts["left_out"]:
        lines.append(f"{len(facts['left_out']):,} files of other kinds left out, the first {facts['left_out'][0]}")
    if corpus.sentences < 2 * corpus.documents:
        lines.append("most documents are one sentence: objectives on pairs need longer ones (see --documents)")
    if done.new_tokens:
        lines.append(f"{done.new_tokens:,} tokens in {duration(done.seconds)}, {done.tokens_per_second:,.0f} a second")
    else:
        lines.append("was there already, with these settings; nothing done")
    return "\n".join(lines)


def _source(corpus: Corpus, name: str) -> str:
    listed = corpus.folder / PHRASES
    return f"; see {listed}" if name == "phrases" and listed.is_file() else ""
