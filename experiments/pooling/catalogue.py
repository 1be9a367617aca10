"""The page of all operators, written from their modules: operator, formula, source, invariants, figure.

    python -m experiments.pooling.catalogue           # writes research/pooling/CATALOGUE.md

A test compares the page with what the modules say.
"""

import sys
from pathlib import Path

__all__ = ["main", "page"]

_HEAD = """# Every pooling operator

Written by `python -m experiments.pooling.catalogue` from the modules' examples; a test keeps it so. Invariants are
asserted in double precision on random inputs (`tests/test_pooling_conformance.py`), as are, for every operator:
padding and masked elements touch neither outputs nor gradients, to the bit; gradients are derivatives; entries of a
batch do not see each other.

| module | operator | formula | source | invariants | parameters | figure |
|---|---|---|---|---|---|---|
"""


def page() -> str:
    """The page's text."""
    import jax

    from research.core import discover, prng
    from research.pooling.operator import INVARIANTS

    rows = []
    for module in discover.operators():
        family, _, name = module.__name__.removeprefix("research.").rpartition(".")
        if family != "pooling":
            continue
        for operator, says in module.example(prng.root_key(0)).items():
            count = sum(leaf.size for leaf in jax.tree.leaves(says.params))
            cells = (
                f"[{name}]({name}.py)", operator, f"`{says.formula.replace('|', chr(92) + '|')}`", says.source,
                ", ".join(says.invariants) or "none claimed", "learned" if count else "none", says.figure or "",
            )  # fmt: skip
            rows.append("| " + " | ".join(cells) + " |")
    meaning = [f"- **{name}**: {text}." for name, text in INVARIANTS.items()]
    return _HEAD + "\n".join(rows) + "\n\n## Invariants\n\n" + "\n".join(meaning) + "\n"


def main() -> int:
    """Writes the page."""
    path = Path(__file__).resolve().parents[2] / "research" / "pooling" / "CATALOGUE.md"
    path.write_text(page())
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
