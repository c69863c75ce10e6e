"""The four verbs of an objective, each with a default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field

from unmask.config import Config, folder
from unmask.text.chance import Chance
from unmask.text.example import Array, Example
from unmask.text.sampling import plan, sequences

if TYPE_CHECKING:
    from torch import nn

    from unmask.models.shape import Shape
    from unmask.nn.batch import Batch
    from unmask.nn.losses import Loss
    from unmask.nn.network import Network
    from unmask.text.sampling.sequences import Slots
    from unmask.text.tokens.tokenizer import Tokenizer


class Objective(Config):
    """What a model is asked while it is pre-trained. One paper, one file."""

    input_formats: ClassVar[tuple[str, ...]] = plan.INPUT_FORMATS
    "The ways of cutting a corpus that this objective can learn from."

    flows: ClassVar[tuple[str, ...]] = ("encoder",)
    "The flows of data (`Shape.flow`) that this objective can train, the usual one first."
    begins: ClassVar[Literal["pad", "sep", "mask"] | None] = None
    "The special token, by its role, that its decoder is given first; none: it has no decoder."

    follows: ClassVar[tuple[str, ...]] = ()
    "Objectives that hide what they hide before this one looks."

    needs: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    "Objectives that it cannot do without, with their settings."

    one_sided: ClassVar[bool] = False
    "Whether tokens must not know what comes later, so that none may be global: from one that is, all would learn it."

    decides: ClassVar[bool] = False
    "Whether what it asks depends on what the network says: its loss writes it into the batch, before others look."

    fields: ClassVar[bool] = False
    "Whether it wants texts that have fields, see `unmask prepare --fields`."

    meanings: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    "What a head's labels say, in words, where they are not tokens."

    modes: ClassVar[tuple[str, ...]] = ()
    "Special tokens that tell a model which of several things is asked of a text."

    weight: float = Field(1.0, gt=0, le=1e6, description="Weight of this loss in the sum of all objectives")
    mixing_rate: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Share of the steps that ask this, where each step draws one of several objectives; none: every "
        "step asks it",
    )

    @property
    def samples(self) -> bool:
        """Whether it makes its own sequences: of several combined objectives only one may."""
        return type(self).sample is not Objective.sample

    @property
    def together(self) -> int:
        """About how many sentences are computed together, in one process and one piece of a step: those whose answers
        hang on each other."""
        return 1

    @property
    def sharing(self) -> tuple[str, ...]:
        """Those of its companions that read with the model's own embeddings."""
        return ()

    @property
    def differing(self) -> str | None:
        """The companion from whose vectors of tokens the model's own differ by what it learns; none: they are its
        own."""
        return None

    def at(self, done: float) -> Self:
        """The objective as it is when this share of the training is behind: 0 at first, 1 for held-out text."""
        return self

    def epochs(self, epochs: Array) -> Array:
        """The epochs [N] whose chance is drawn on: not all differ where a text is met again just as it was."""
        return epochs

    def beside(self, others: Mapping[str, Objective]) -> None:
        """Refuse, with a `ValueError`, what does not go together with this objective, or what it needs and lacks."""

    def suits(self, shape: Shape) -> None:
        """Refuse, with a `ValueError`, a model of the right flow that cannot learn this."""
        if self.one_sided and shape.global_tokens != "none":
            raise ValueError(
                "a global token sees all and is seen by all, so that none is hidden from those before it; "
                "--model.global-tokens none would fit"
            )
        if self.one_sided and shape.trigrams:
            raise ValueError("a mobilebert's trigrams tell of the next token, so that none is hidden; bert would fit")

    def model(self, shape: Shape) -> Shape:
        """The model that is asked for, with what this objective needs of it."""
        return shape

    def asked_of(self, shape: Shape) -> Self:
        """The objective as it is for this model, where some of it hangs on the model."""
        return self

    def extra_tokens(self) -> tuple[str, ...]:
        """Special tokens that it needs; a vocabulary that lacks them gets them at its end."""
        return ()

    def companions(self, shape: Shape) -> dict[str, Shape]:
        """Further backbones that it trains beside the model, by name; each reads the stream of its name."""
        return {}

    def sample(self, slots: Slots, tokenizer: Tokenizer, chance: Chance) -> Example:
        """Make sequences of stretches of text."""
        return sequences.single(slots, tokenizer, chance)

    def corrupt(self, example: Example, tokenizer: Tokenizer, chance: Chance) -> Example:
        """Hide something, and say where the answers are."""
        return example

    def heads(self, shape: Shape) -> dict[str, nn.Module]:
        """The modules that answer, by the name of their targets: states [M, D] to logits [M, C]."""
        return {}

    def loss(self, net: Network, batch: Batch) -> dict[str, Loss]:
        """Sums and counts by head. As it stands, each head answers at its targets."""
        return net.answer(batch, self.answers())

    def answers(self) -> tuple[str, ...]:
        """The names of the heads this objective's loss uses."""
        return ()

    def weights(self) -> dict[str, float]:
        """What each mean loss counts in the sum of all; one head may have several, if it answers in several ways."""
        return dict.fromkeys(self.answers(), self.weight)

    def figures(self, means: Mapping[str, float]) -> dict[str, float]:
        """Held-out figures that are not means themselves but made of some."""
        return {}


def that_train(flow: str) -> list[str]:
    """The names of all objectives that can train models of this flow."""
    known = folder("unmask.objectives").items()
    return [name for name, cls in known if issubclass(cls, Objective) and flow in cls.flows]


def refused_by(shape: Shape) -> list[str]:
    """Of those that train models of its flow the names of those that refuse this one, as they are by default."""
    return [name for name in that_train(shape.flow) if not _taken(folder("unmask.objectives")[name](), shape)]


def _taken(objective: Any, shape: Shape) -> bool:
    try:
        objective.suits(objective.model(shape))
    except ValueError:
        return False
    return True


def in_turn(chosen: Mapping[str, Objective]) -> dict[str, Objective]:
    """The same objectives, each after those that it follows, and what decides first."""
    return dict(sorted(chosen.items(), key=lambda item: (bool(item[1].follows), not item[1].decides)))


def lots(chosen: Mapping[str, Objective]) -> list[dict[str, Objective]]:
    """What a step may ask together: all that have no mixing_rate and, where some have, one of those."""
    return [
        {name: o for name, o in chosen.items() if o.mixing_rate is None or name == drawn}
        for drawn in [name for name, objective in chosen.items() if objective.mixing_rate is not None] or [""]
    ]


def refuse_mixing(chosen: Mapping[str, Objective]) -> None:
    """Refuse, with a `ValueError`, shares of less or more than all steps, and heads that are weighed in two ways."""
    shares = {name: objective.mixing_rate for name, objective in chosen.items() if objective.mixing_rate is not None}
    if shares and abs(sum(shares.values()) - 1) > 1e-6:
        told = " and ".join(f"{name}.mixing_rate {share:g}" for name, share in shares.items())
        if len(shares) == 1:
            raise ValueError(
                f"{told} draws one of several, and no other has a mixing_rate; leave it out, or give another"
            )
        raise ValueError(
            f"{told} add up to {sum(shares.values()):g}; one of them is drawn for each step, so a sum of 1 would fit"
        )
    weights: dict[str, tuple[str, float]] = {}
    for name, objective in chosen.items():
        for head, weight in objective.weights().items():
            other, theirs = weights.setdefault(head, (name, weight))
            if theirs != weight:
                raise ValueError(f"{other} and {name} are answered by one head, {head}; give both the same weight")
