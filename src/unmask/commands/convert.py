"""Turn a run into a Hugging Face folder, or one of those into a run."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field
from rich.console import Console

from unmask.config import Config, to_yaml
from unmask.disk import whole_folder, write_file
from unmask.errors import UserError, plain
from unmask.models.shape import Shape

if TYPE_CHECKING:
    from torch import Tensor

    from unmask import hub
    from unmask.inference.model import Model

ASKED = {
    "masked_lm": "AutoModelForMaskedLM",
    "causal_lm": "AutoModelForCausalLM",
    "permutation_lm": "AutoModelForCausalLM",
    "decoder_lm": "AutoModelForSeq2SeqLM",
}
"By our head, the class that gives its logits there."
NEAR = 1e-4  # of the largest number: what another order of adding up may change


class Convert(Config):
    """Turn a run into a Hugging Face folder, or one of those into a run.

    What was written is opened again and run: its states and logits must be the model's own, bit for bit. Where
    transformers is installed, it must agree too, and find the same tokens. What cannot be carried is said.
    """

    positional: ClassVar[tuple[str, ...]] = ("src",)

    src: str = Field(description="A run, a Hugging Face folder, or hf:owner/name")
    to: Literal["hf", "unmask"] = Field(description="hf: what transformers opens; unmask: a run to continue from")
    out: Path = Field(description="The folder to make")
    part: str | None = Field(
        None,
        description="What else was trained beside the model and is to be taken instead of it: generator, after "
        "replaced_token_detection",
    )
    allow_missing: list[str] = Field(
        [],
        description="Heads of a Hugging Face folder to go on without where weights of theirs are missing: masked_lm, …",
    )
    add_tokens: list[str] = Field(
        [],
        description="Words that become tokens of their own, or a file with one a line; each begins as the mean of its "
        "pieces, or with the vector of its letters or image where a model reads those; not where a vocabulary ends "
        "with T5's marks",
    )
    max_length: int | None = Field(
        None,
        ge=8,
        le=2**20,
        description="Stretch learned positions to this many, each between the two that stood nearest; with window they "
        "are repeated",
    )
    window: int | None = Field(
        None, ge=2, multiple_of=2, description="Make a bert or roberta a longformer, with windows of this width"
    )
    list_tensors: bool = Field(
        False, description="Say of every tensor of a Hugging Face folder: mapped, tied, missing or unused"
    )

    def run(self) -> list[str]:
        """Write and check; prints and returns what was absent, could not be carried, or was found, a line each."""
        from unmask.inference.early import refuse_absent

        refuse_absent(self.src)
        model = self._enlarged(self._opened().part(self.part))
        with whole_folder(self.out) as beside:  # whose name it gets when it has been checked
            made = beside / "made"
            told = _write_hub(model, made) if self.to == "hf" else self._write_run(model, made)
            notes = [*model.notes, *told, *_check(model, made, self.to)]
            for path in made.iterdir():
                path.rename(beside / path.name)
            made.rmdir()
        console = Console(highlight=False, soft_wrap=True)
        for line in [f"{self.src} -> {self.out}", *notes]:
            console.print(plain(line), markup=False)
        return notes

    def _opened(self) -> Model:
        """The model, and what became of the tensors of a Hugging Face folder."""
        from unmask import hub
        from unmask.hub.remote import HUB, fetch
        from unmask.inference.loading import load, of_found

        home = fetch(self.src) if self.src.startswith(HUB) else Path(self.src)
        if (home / "config.yaml").is_file() or not (home / "config.json").is_file():
            for name in ("allow_missing", "list_tensors"):
                if getattr(self, name):
                    raise UserError(f"--{name.replace('_', '-')}: {self.src} is no Hugging Face folder; leave it out")
            return _with_layers(load(self.src, device="cpu"))
        found = hub.read(home, self.allow_missing, pickled=True)
        model = of_found(found, home)
        return replace(model, notes=[*_told(found, self.list_tensors), *model.notes])

    def _enlarged(self, model: Model) -> Model:
        from unmask.inference.enlarging import with_places, with_tokens, words_of
        from unmask.inference.lengthening import with_windows

        if self.window is not None:
            model = with_windows(model, self.window, self.max_length)
        elif self.max_length is not None:
            model = with_places(model, self.max_length)
        return with_tokens(model, words_of(self.add_tokens)) if self.add_tokens else model

    def _write_run(self, model: Model, out: Path) -> list[str]:
        """A run of no steps."""
        from unmask.inference import glyphs
        from unmask.inference.loading import read_settings
        from unmask.training.checkpoint import Checkpoints, State

        settings = Path(self.src) / "config.yaml"
        if settings.exists():
            self._refuse_run(model)
            objective = read_settings(settings)["objective"]
        else:
            objective = _objectives(model)
        config = Converted(converted_from=self.src, model=model.shape, objective=objective, begins=model.begins)
        Checkpoints(out).save(State(step=0, steps=0), dict(model.network.named_parameters()), {})
        model.tokenizer.save(out, segments=model.shape.segments > 1)
        glyphs.write(model.network, out)
        write_file(out / "config.yaml", to_yaml(config).encode())
        return []

    def _refuse_run(self, model: Model) -> None:
        from unmask.inference.finetuned import Finetuned

        if isinstance(model, Finetuned) or self.part:
            raise UserError(f"{self.src}: --to unmask makes no run of a part or of a fine-tuning; --to hf would fit")
        if not self.add_tokens and self.max_length is None:
            raise UserError(
                f"{self.src}: is a run already; a Hugging Face folder would fit, --to hf, or --add-tokens to enlarge it"
            )


class Converted(Config):
    """The ``config.yaml`` of a run that was not trained here."""

    converted_from: str
    model: Shape
    objective: dict[str, dict[str, Any]]  # the heads that came along
    begins: int | None = None  # the token that its decoder is given first


def _with_layers(model: Model) -> Model:
    if not model.shape.layers:
        raise UserError(f"{model.source.parent}: holds vectors of tokens alone; a model with layers would fit")
    return model


def _told(found: hub.Found, each: bool) -> list[str]:
    """How many tensors met which fate; each of them, if asked for."""
    fates = list(found.fates.values())
    counts = ", ".join(f"{fates.count(fate)} {fate}" for fate in ("mapped", "tied", "missing", "unused"))
    lines = [f"tensors of {found.path.name}: {counts}"]
    return [*lines, *(f"  {fate:<7} {name}" for name, fate in sorted(found.fates.items()) if each)]


def _write_hub(model: Model, out: Path) -> list[str]:
    from unmask import hub
    from unmask.inference.finetuned import Finetuned

    task = model.task if isinstance(model, Finetuned) else None
    tensors = dict(model.network.named_parameters())
    notes = hub.write(out, model.shape, tensors, model.tokenizer, task, model.begins)
    if model.fills:
        notes.append("not carried: where a fragment stands; Hugging Face's decoder writes from the first place on")
    return notes


def _objectives(model: Model) -> dict[str, dict[str, Any]]:
    """Those that its heads answer, by the family's own ways."""
    from unmask.hub.families import FAMILIES

    known = FAMILIES[model.shape.family].heads
    return {known[head].objective or head: {} for head in model.heads}


def _check(model: Model, out: Path, to: str) -> list[str]:
    """Open and run what was written, beside what it was made from."""
    import torch

    from unmask.inference.loading import load

    again = load(out, device="cpu")
    ids = torch.arange(min(model.shape.max_length, 200)) * 7919 % model.tokenizer.size
    ids[ids == model.tokenizer.pad] = model.tokenizer.sep  # some count no place for a padding
    # of a task's model they know the states, and a head of GPT-2's that is nothing but the embeddings
    heads = [head for head in again.heads if head in model.heads]
    before, after = _outputs(model, ids, heads), _outputs(again, ids, heads)
    for name, output in after.items():
        if not torch.equal(output, before[name]):
            raise RuntimeError(f"{out}: its {name} are not those of {model.source}; nothing was kept")
    notes = [f"opened again and run: {', '.join(after)} are equal bit for bit"]
    return notes + _check_with_transformers(model, out, ids, after) if to == "hf" else notes


def _outputs(model: Model, ids: Tensor, heads: list[str]) -> dict[str, Tensor]:
    """States [T, D] and these heads' logits [T, C] of one sequence [T]; a decoder reads it and writes it backwards."""
    import torch

    from unmask.nn.batch import collate
    from unmask.text.example import Example, Stream

    streams = {"encoder": Stream(ids.numpy(), np.array([len(ids)]))}
    if model.shape.decoder_layers:
        streams["decoder"] = Stream(ids.numpy()[::-1].copy(), np.array([len(ids)]), reads="encoder")
    with torch.inference_mode():
        states_TD = model.network.states(collate(Example(streams)), list(streams)[-1])
        return {"states": states_TD, **{name: model.network.heads[name](states_TD) for name in heads}}


def _check_with_transformers(model: Model, out: Path, ids: Tensor, ours: dict[str, Tensor]) -> list[str]:
    if find_spec("transformers") is None:
        return ["transformers is not installed here, so it was not asked to open the folder"]
    import torch

    from unmask.hub.families import FAMILIES

    transformers: Any = import_module("transformers")
    transformers.logging.set_verbosity_error()  # it reports heads that its class has no use for
    transformers.logging.disable_progress_bar()
    which, cls, wanted = _asked(model, ids, ours)
    opened = getattr(transformers, cls).from_pretrained(out)
    with torch.inference_mode():
        decoded = {"decoder_input_ids": ids.flip(0)[None]} if model.shape.decoder_layers else {}
        told = FAMILIES[model.shape.family].call(model.shape, ids[None])
        theirs = opened(ids[None], **decoded, **told)[0][0]
    apart = (theirs - wanted).abs().max().item()
    text = model.tokenizer.decode(ids.tolist())
    tokens = transformers.AutoTokenizer.from_pretrained(out)(text)["input_ids"]
    (pieces,) = model.tokenizer.encode([text])
    same_tokens = tokens == model.framed(pieces.ids, closed=not model.writes_on).tolist()
    if not (apart <= NEAR * wanted.abs().max().item() and same_tokens):  # a NaN is no agreement
        raise RuntimeError(f"{out}: transformers reads it otherwise ({which} {apart:.1e} apart); nothing was kept")
    return [f"opened with transformers ({cls}): its {which} are within {apart:.1e}, its tokens are equal"]


def _asked(model: Model, ids: Tensor, ours: dict[str, Tensor]) -> tuple[str, str, Tensor]:
    """What the two are compared by: its name, the class that gives it there, and what it is here."""
    import torch

    from unmask.inference.finetuned import Finetuned
    from unmask.nn.batch import collate
    from unmask.text.example import Example, Stream, Targets

    if isinstance(model, Finetuned):
        every = np.arange(len(ids))
        one = every[-1:] if model.shape.causal else every[:1]
        index = every if model.task.architecture == "TokenClassification" else one
        answers = {name: Targets(index, np.zeros_like(index)) for name in model.task.answers()}
        batch = collate(Example({"encoder": Stream(ids.numpy(), np.array([len(ids)]))}, answers))
        with torch.inference_mode():
            logits = model.task.logits(model.network, batch)
        return "logits", f"AutoModelFor{model.task.architecture}", logits.squeeze(0)
    for head, cls in ASKED.items():
        if head in model.heads:
            return head, cls, ours[head]
    return "states", "AutoModel", ours["states"]
