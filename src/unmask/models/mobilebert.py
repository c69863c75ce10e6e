"""A thin and deep encoder (Sun 2020, MobileBERT, 2004.02984): every layer works inside a bottleneck."""

from __future__ import annotations

from unmask.models.encoder import Encoder
from unmask.nn.bottleneck import BottleneckBlock


class MobileBERT(Encoder):
    """Sequences of T tokens to states [T, D]; what goes in are trigrams of narrow vectors of tokens."""

    block = BottleneckBlock
