"""Write docs/agreement.md: how nearly each architecture agrees with transformers, as the tests found it.

Run ``python docs/make_agreement.py`` after adding an architecture: it runs the tests that compare, about two minutes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

HOME = Path(__file__).parent / "agreement.md"
TESTS = HOME.parent.parent / "tests"
PARTS = ("states", "logits", "loss", "gradients")
BACK = "there and back"
HEAD = ("architecture", "class", *PARTS, BACK)

Rows = dict[str, dict[str, list[str]]]
"""By case and part, what was recorded of it."""


def main() -> None:
    """Run the tests and write the page."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            str(TESTS),
            "-m",
            "agreement",
            f"--junitxml={report}",
            "-o",
            "junit_family=xunit1",
        ]
        if code := subprocess.run(command, check=False).returncode:
            sys.exit(f"the tests of agreement failed with {code}; nothing was written")
        HOME.write_text(page(recorded(report)), encoding="utf-8")


def recorded(report: Path) -> Rows:
    """What tests wrote down."""
    rows: Rows = defaultdict(lambda: defaultdict(list))
    for test in ElementTree.parse(report).iter("testcase"):
        found = [(p.attrib["name"], p.attrib["value"]) for p in test.iter("property")]
        case = dict(found).get("case", "")
        for name, value in found:
            rows[case][name].append(value)
    return rows


def page(rows: Rows) -> str:
    """The page as Markdown."""
    versions = f"transformers {version('transformers')} and torch {version('torch').partition('+')[0]}"
    return f"""# Agreement with transformers

Made by `python docs/make_agreement.py` from what `pytest -m agreement` found on a processor, with {versions}.

Each row is a model with random weights in every place, biases and norms too, given to both programs: texts of unequal
lengths, one of them a single token and one as long as the model reads; theirs padded and ours not; in evaluation and in
training, without dropout; in float32. A number is the largest difference anywhere in the states of all layers, in
the logits of the heads, in the loss, or in the gradients of all weights, by the largest number of its kind in the
reference. More than 1e-5 fails the tests. *{BACK.capitalize()}*: a Hugging Face folder that was read and written again
is the same, byte by byte.

{markdown(sorted(rows.items()))}

What a Reformer says of a text hangs there on how it is padded, so it is compared text by text; the rotations are those
of one `hash_seed`. A MobileBERT there reads the token behind a text's last, and takes padding for one: padded beside
a longer text its last state differs from that of the text alone, which is what is computed here; the vector of [PAD] is
zero in that row.

MASS and UniLM are the architectures of `bart` and `bert` in sizes of their own, trained otherwise. What transformers
does not have is held to what it must be instead: in `tests/test_transformer_xl.py` segments that are read with memory
are one long pass, in `tests/test_elmo.py` each direction is blind to the other, and both its LSTMs are torch's.
"""


def markdown(rows: Iterable[tuple[str, dict[str, list[str]]]]) -> str:
    """A row for each case."""
    lines = [HEAD, ("---",) * len(HEAD)]
    for case, found in rows:
        classes = ", ".join(f"`{name}`" for name in dict.fromkeys(found["class"]))
        apart = (f"{max(map(float, found[part])):.0e}" if found[part] else "" for part in PARTS)
        lines.append((case, classes, *apart, found[BACK][0] if found[BACK] else ""))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
