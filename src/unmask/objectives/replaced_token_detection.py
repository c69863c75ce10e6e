"""Replaced token detection (Clark 2020, ELECTRA, 2003.10555): which tokens did another model make up?

With embeddings as He 2021 has them (DeBERTa v3, 2111.09543, §3.3), and a generator that is as wide and half as deep.

T tokens, M answers, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from unmask.objectives.base import Objective
from unmask.text.chance import Chance
from unmask.text.corruption import masking
from unmask.text.example import Example, Targets

if TYPE_CHECKING:
    from torch import Tensor, nn

    from unmask.models.shape import Shape
    from unmask.nn.batch import Batch
    from unmask.nn.losses import Loss
    from unmask.nn.network import Network
    from unmask.text.tokens.tokenizer import Tokenizer

GENERATOR = "generator"


class ReplacedTokenDetection(Objective):
    """Say of every token whether a small generator put it there, which learns masked LM beside the model (ELECTRA).

    The model is the discriminator: it reads the text with tokens drawn from the generator where that one saw masks. A
    token that the generator guessed right counts as the original. Both read with the same embeddings, or the model with
    the generator's and a difference of its own (DeBERTa v3).
    """

    decides: ClassVar[bool] = True
    meanings: ClassVar[Mapping[str, tuple[str, ...]]] = {"replaced_token_detection": ("original", "replaced")}

    rate: float = Field(0.15, gt=0, lt=1, description="Share of the tokens that the generator has to guess")
    mask: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Share of these that it sees as the mask token; the rest is kept (0.85 in the release)",
    )
    generator: float = Field(0.25, gt=0, le=1, description="The generator's width, heads and feed-forward, as a share")
    generator_depth: float = Field(1.0, gt=0, le=1, description="The generator's layers, as a share (0.5 in DeBERTa)")
    embeddings: Literal["shared", "disentangled"] = Field(
        "shared",
        description="shared: what both learn moves them; disentangled: the generator's are its own, and the "
        "model's are these and a difference, which alone its loss moves (He 2021)",
    )
    discriminator_weight: float = Field(
        50.0, gt=0, description="Weight of the discriminator's loss; the generator's is 1"
    )

    @property
    def sharing(self) -> tuple[str, ...]:
        """The generator, with shared embeddings."""
        return (GENERATOR,) if self.embeddings == "shared" else ()

    @property
    def differing(self) -> str | None:
        """The generator, with disentangled ones."""
        return GENERATOR if self.embeddings == "disentangled" else None

    def suits(self, shape: Shape) -> None:
        """Letters have no vectors of tokens that could differ, and two families none for a narrower generator."""
        if shape.trigrams and self.generator < 1:
            raise ValueError(
                f"generator {self.generator}: a mobilebert's embeddings are as wide as its states, and shared; "
                "generator 1 and generator_depth below 1 would fit"
            )
        if shape.family == "reformer":
            raise ValueError("a reformer's embeddings are as wide as its streams, and its generator would be narrower; "
                             "an encoder of another family would fit")  # fmt: skip
        if self.embeddings == "disentangled" and shape.embedding != "subword":
            raise ValueError(f"embeddings disentangled are of subwords, and this model's are {shape.embedding}")

    def beside(self, others: Mapping[str, Objective]) -> None:
        """What hides tokens too would hide them from the discriminator."""
        hiding = [name for name, other in others.items() if type(other).corrupt is not Objective.corrupt]
        if len(hiding) > 1:
            other = next(name for name in hiding if others[name] is not self)
            raise ValueError(
                f"replaced_token_detection reads with nothing hidden, and {other} hides some; give one of them"
            )

    def companions(self, shape: Shape) -> dict[str, Shape]:
        """The generator: narrower or less deep, with heads of about the same width (as in the release)."""
        heads = max(1, round(shape.heads * self.generator))
        width = heads * max(8, round(shape.width * self.generator) // heads // 2 * 2)
        tokens = shape.token_width
        changed = {
            "layers": max(1, round(shape.layers * self.generator_depth)), "width": width, "heads": heads,
            "feed_forward": max(1, round(shape.feed_forward * width / shape.width)),
            "embedding_width": None if tokens == width else tokens,
        }  # fmt: skip
        return {GENERATOR: type(shape)(**{**shape.model_dump(), **changed})}

    def corrupt(self, example: Example, tokenizer: Tokenizer, chance: Chance) -> Example:
        """Hide tokens from the generator; every token is asked about, once the generator has filled the masks."""
        stream = example.streams["encoder"]
        masked, asked = masking.mask_tokens(stream, tokenizer, chance, self.rate, self.mask, random=0.0)
        lots = chance.tokens(stream.lengths, "generator")[asked.index]
        every = np.arange(len(stream.tokens))
        replaced = np.isin(every, asked.index).astype(np.int64)  # unless the generator will guess it
        return example.with_stream(masked, GENERATOR).with_targets(
            generator=replace(asked, stream=GENERATOR, lots=lots),
            replaced_token_detection=Targets(every, replaced),
        )

    def heads(self, shape: Shape) -> dict[str, nn.Module]:
        """The vocabulary head on the generator, and two layers on the discriminator."""
        from unmask.nn.heads import MaskedLMHead, ReplacedTokenHead

        narrow = self.companions(shape)[GENERATOR]
        return {GENERATOR: MaskedLMHead(narrow), "replaced_token_detection": ReplacedTokenHead(shape)}

    def loss(self, net: Network, batch: Batch) -> dict[str, Loss]:
        """The generator's, and then the discriminator's on what is drawn from it; no gradient goes through the draw."""
        from unmask.nn.drawing import drawn
        from unmask.nn.losses import cross_entropy

        logits, asked = net.even_logits(batch, GENERATOR), batch.targets[GENERATOR]
        assert asked.lots is not None
        self._replace(batch, drawn(logits[: len(asked.labels)], asked.lots))
        return {GENERATOR: cross_entropy(logits, asked.labels), **net.answer(batch, ["replaced_token_detection"])}

    def _replace(self, batch: Batch, tokens_M: Tensor) -> None:
        """Put tokens where the generator saw masks, and note which of them are others than those that stood there."""
        stream, asked = batch.streams["encoder"], batch.targets[GENERATOR]
        tokens, replaced = stream.tokens.clone(), stream.tokens.new_zeros(len(stream.tokens))
        tokens[asked.index], replaced[asked.index] = tokens_M, (tokens_M != asked.labels).long()
        batch.streams["encoder"] = replace(stream, tokens=tokens)
        batch.targets["replaced_token_detection"].labels = replaced
        batch.states.pop("encoder", None)

    def answers(self) -> tuple[str, ...]:
        """The generator's head and its own."""
        return (GENERATOR, "replaced_token_detection")

    def weights(self) -> dict[str, float]:
        """The discriminator's loss counts fifty times the generator's: it is that much smaller."""
        return {GENERATOR: self.weight, "replaced_token_detection": self.weight * self.discriminator_weight}
