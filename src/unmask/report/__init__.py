"""One self-contained HTML page per run, and the model card.

``write_report(folder)`` reads what a run left behind and writes ``report.html``; ``write_card(folder)`` writes
``README.md``, the last file of a run (``finished(folder)``); ``write_overview(folders, out)`` writes one page for
several runs. All read the files below. Only ``result.json`` must be there; the page shows what it finds. Numbers that
are not finite are null, and a key ``not_finite`` lists where they were.

``result.json`` (written by `unmask.training.record.write_result`, which adds the last four)::

    kind               "pretrain" | "finetune"
    title              what to call the run: "masked_lm on wiki", "classify: sst-2"; the folder's name if absent
    language           "en", "zh"
    figures            {name: number} on held-out data; over several seeds their means.
                       pretrain: "loss", "loss/masked_lm", "accuracy/masked_lm", "perplexity", …
                       finetune: the task's scores: "accuracy", "macro_f1", …; of the test file or else the valid file
    constant           the label that a fine-tuned model gives everywhere, if it gives one only
    held_out           "valid" | "test": what ``figures`` were measured on
    main               name of the most important figure
    seeds              [1, 2, 3]
    by_seed            {name: [number per seed]}, in the order of ``seeds``
    spread             {name: standard deviation over the seeds (n - 1)}
    steps              steps done (of all seeds)
    tokens             real tokens read (of all seeds)
    seconds            of training (of all seeds)
    device, precision  "cpu", "bfloat16"
    model              {"name": "modernbert-mini", "parameters": 11000000, "layers": 6, "width": 256, …}; shown as it is
    data               facts, shown as they are: {"documents": 9, "tokens": 9, "tokens_per_word": 1.3,
                       "vocabulary": 8192, "unknown": 0.001, "fill": 0.99, "cut": 0, "skipped": 0, …}; a value
                       may itself be such a dict (finetune: {"train": {"rows": 9, "cut_rows": 1, …}, "valid": {…}})
    task               finetune: "classify", "tag", …
    dataset            finetune: what is learnt, alike for runs that may be compared: "sst-2"
    init               finetune: "pretrained" | "random"
    base               finetune: what it started from: "runs/a"
    fresh              of a pre-training with a base what that lacked, and so began at random
    best_seed          of a fine-tuning with several seeds the one whose model was kept
    baseline           optional, what the figures stand beside: {"title": "random weights", "figures": {…}, "by_seed":
                       {…}, "spread": {…}}; of pre-training what answers by their frequency in training would reach
    chosen             settings that differ from their defaults, nested as in config.yaml
    idle               paths of settings that had no effect, "objective.masked_lm.dupe_factor"; the page leaves them out
    peak_memory        bytes, of the process; on a GPU, of the GPU
    versions           {"unmask": "…", "python": "…", "torch": "…", "numpy": "…", "tokenizers": "…"}
    finished           "2026-01-31 12:00"

``metrics.jsonl`` (written by `unmask.training.record.Record`): one object a line::

    step, split        split is "train" or "valid"; both are required
    seed               in runs of several seeds
    loss               the weighted sum; "loss/HEAD" of each head; "accuracy/HEAD" or any further figure by its name;
                       each is drawn but "score", the loop's word for the main one of them
    lr, grad_norm, tokens, seconds          of train lines; tokens and seconds count from the start of the run
    tokens_per_second                       added by Record

``samples.json``::

    fill               [{"text": "Paris is the [MASK] of France.", "masks": [{"truth": "capital" | null,
                         "guesses": [["capital", 0.83], ["centre", 0.05], …]}]}]       one entry of masks per [MASK]
    written            [{"given": "Paris is", "written": "a city", "truth": "the capital of France"}]
    predictions        classify: [{"text": "a fine film" | ["text a", "text b"], "truth": "positive", "predicted":
                         "positive", "probability": 0.98}]; truth and predicted are lists where several labels may hold
                       tag: [{"words": ["U.N.", …], "truth": ["B-ORG", …], "predicted": ["B-ORG", …]}]
    confusion          {"labels": ["negative", "positive"], "counts": [[90, 10], [8, 92]]}    rows are the truth
    labels             {"positive": {"precision": 0.9, "recall": 0.92, "f1": 0.91, "count": 100}}

``config.yaml``: the complete settings.
"""

from unmask.report.card import finished, write_card
from unmask.report.page import write_overview, write_report

__all__ = ["finished", "write_card", "write_overview", "write_report"]
