"""The outcomes of the tables as a page, docs/third_party.md; and the recorded outcomes that tests compare with."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from third_party.harness import COLUMNS, FLAT, RIGHT, TABLES

EXPECTED = Path(__file__).with_name("expected.json")

TITLES = {"scipy": "SciPy", "sklearn": "scikit-learn", "extra": "array-api-extra and einops", "xarray": "xarray"}

# What an exception's message says in the words of the page.
REASONS = {
    r"^Can't call numpy\(\) on Tensor": "converts to a NumPy array",
    r"^one of the variables needed for gradient": "writes over a value that the graph needs",
    r"^Output \d+ of \w+ is a view and is being modified": "writes to one of several views",
    r"^Multiple namespaces for array inputs": "does not take NumPy arrays and Tensors together",
    r"^the gradient of .* is not a number": "0 * NaN: NaN is computed, then overwritten under a mask",
}

HEAD = """\
# Third-party code on Tensors

Tensors are Array API arrays, and NumPy's functions dispatch to them. So code of others that is written against the
standard, or calls NumPy, can be differentiated:

```python
import agrad
import numpy as np

x = agrad.tensor([0.5, 1.0, 2.0], requires_grad=True)
y = np.linalg.norm(np.sin(x)) + np.ones(3) @ x
y.backward()
print(isinstance(y, agrad.Tensor), x.grad.shape)  # True (3,)
```

SciPy and scikit-learn have to be told: set the environment variable `SCIPY_ARRAY_API=1` before SciPy is imported, and
call `sklearn.set_config(array_api_dispatch=True)`.

```py
scipy.stats.skew(x).backward()
```

**A result is never detached in silence.** A function that wants a NumPy array gets an exception. A function that calls
`float(...)` on its result, as all metrics of scikit-learn do, returns a Python number, which carries no history; agrad
warns, once per process, as PyTorch does.

Library code often writes into arrays that it has just computed with. By default that raises when the gradient is asked
for, if the graph needs the old values; with

```py
with agrad.autograd.graph.allow_mutation_on_saved_tensors():     # or the configuration on_saved_write = "copy"
    ...
```

the old values are kept and the gradient is right. Each function below was run both ways, and the gradient of every
output compared with differences of the same function on NumPy. The outcomes:

| Outcome | |
|---|---|
| right | the gradient is that of the function on NumPy |
| flat | nothing to differentiate: the outputs do not change with the inputs, and are not tracked |
| plain number | the same, and the function returns a Python number |
| left the graph | `float()` or `int()` on a tracked Tensor, with the warning |
| raises | an exception |
| nan | the gradient is NaN although it exists, as with PyTorch's tensors and JAX's arrays |

The last one: a function computes NaN and overwrites it under a mask. Backwards, the cotangent there is 0, and 0 * NaN
is NaN.

This page is written by `python tools/third_party.py --record` from what it runs; without `--record` the tables are only
printed. A test runs all of them, and fails where a function gives less than what stands here, or a wrong gradient.
"""


def recorded() -> dict[str, Any]:
    """The outcomes that are recorded, by table."""
    return json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}


def to_record(found: dict[str, Any]) -> dict[str, Any]:
    """What is recorded of the outcomes of a table: no times."""
    outcomes = {
        name: {column: {"kind": row[column]["kind"], "detail": row[column]["detail"]} for column in COLUMNS}
        for name, row in found["outcomes"].items()
    }
    return {"versions": found["versions"], "more": found["more"], "outcomes": outcomes}


def page(tables: dict[str, Any]) -> str:
    """The whole page."""
    return HEAD + "".join(chapter(table, tables[table]) for table in TABLES if table in tables)


def chapter(table: str, found: dict[str, Any]) -> str:
    """One library: totals, what is right, and why the rest is not."""
    outcomes = found["outcomes"]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    lines = [f"\n## {TITLES[table]}\n", f"With {versions}.\n", *totals(outcomes, found["more"]), ""]
    everywhere = [name for name, row in outcomes.items() if all(row[c]["kind"] == RIGHT for c in COLUMNS)]
    lines += ["**Right both ways:** " + ", ".join(everywhere) + ".\n"]
    lines += ["| Function | raise | copy | Why |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {row['raise']['kind']} | {row['copy']['kind']} | {reason(row)} |"
        for name, row in outcomes.items() if name not in everywhere
    ]
    return "\n".join(lines) + "\n"


def totals(outcomes: dict[str, Any], more: list[str]) -> list[str]:
    """How many functions had each outcome; those in `more` do not count."""
    counted = [row for name, row in outcomes.items() if name not in more]
    counts = {c: Counter(row[c]["kind"].partition(" ")[0] if row[c]["kind"].startswith("raises") else row[c]["kind"]
                         for row in counted) for c in COLUMNS}
    kinds = [kind for kind in (RIGHT, FLAT, "plain number", "left the graph", "raises", "nan", "DETACHED", "WRONG")
             if any(counts[c][kind] for c in COLUMNS)]
    lines = [f"| of {len(counted)} functions | " + " | ".join(kinds) + " |", "|---" * (len(kinds) + 1) + "|"]
    return lines + [f"| {c} | " + " | ".join(str(counts[c][kind]) for kind in kinds) + " |" for c in COLUMNS]


def reason(row: dict[str, Any]) -> str:
    """Why a function is not right, where that is known."""
    found = []
    for column in COLUMNS:
        detail = row[column]["detail"]
        for pattern, words in REASONS.items():
            if re.search(pattern, detail):
                place = re.search(r" (\[[^\]]+:\d+\])$", detail)
                detail = f"{words} {place[1] if place else ''}".strip()
        if detail and detail not in found:
            found.append(detail)
    return "; then ".join(found).replace("|", "\\|")
