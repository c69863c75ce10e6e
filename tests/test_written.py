"""What is shown of a model that writes: of which text, and beside what stood there."""

from __future__ import annotations

from pathlib import Path

import pytest

from test_every_course import OBJECTIVES, trainer_for
from unmask.runs.written import MOST, written

WRITE = {"causal_lm", "masked_next_token", "causal_lm of transformer-xl-tiny"} | {
    name for name, objective in OBJECTIVES.items() if objective.begins
}
"""Those whose models write texts of their own."""


@pytest.mark.parametrize("name", [*sorted(OBJECTIVES), "causal_lm of transformer-xl-tiny"])
def test_models_that_write_show_it(name: str, corpus: Path, tmp_path: Path) -> None:
    work = trainer_for(name, corpus, tmp_path).work
    samples = written(work, 3)
    assert len(samples) == (3 if name in WRITE else 0)
    stands = whole_text(work)
    for sample in samples:
        assert sample["truth"] and sample["given"] and len(sample["written"].split()) <= 2 * MOST
        if "decoder_lm" not in work.network.heads:
            assert f"{sample['given']} {sample['truth']}" in stands
    assert not samples or any(sample["given"] != sample["truth"] for sample in samples)


def whole_text(work: object) -> str:
    whole = work.plan.corpus
    shards = [whole.shard(n) for n in range(whole.shards)]
    return " ".join(whole.tokenizer.decode(shard.tokens, True) for shard in shards)
