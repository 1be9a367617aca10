"""Writes golden files, after a change that is meant to change them: python tests/golden/make.py configs

`configs` holds every config of the checkout as it resolves, and its quick form if it has one.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The checkout whose files these are, whichever one is installed: another's configs would remove this one's dumps.
sys.path.insert(0, str(HERE.parents[1]))

from experiments.lib import config as config_lib  # noqa: E402
from experiments.lib.errors import Stop, UsageError  # noqa: E402


def config_files() -> list[Path]:
    """Configs of the checkout, without sweeps."""
    return [path for path in config_lib.files() if path.parent.name != "sweeps"]


def golden_path(path: Path) -> Path:
    """`configs/<family>/<name>.py` -> `tests/golden/configs/<family>_<name>.json`."""
    parts = path.relative_to(config_lib.CHECKOUT / "configs").with_suffix("").parts
    return HERE / "configs" / f"{'_'.join(parts)}.json"


def dump(path: Path) -> str:
    """Canonical text of a config and of its quick form, as two JSON objects one after the other."""
    texts = [config_lib.resolve(str(path)).text]
    try:
        texts.append(config_lib.resolve(f"{path}:quick").text)
    except UsageError as error:
        if "takes no argument" not in str(error):
            raise
    return "".join(texts)


def configs() -> None:
    """Rewrites `configs/*.json`, and removes those whose config is gone."""
    folder = HERE / "configs"
    folder.mkdir(exist_ok=True)
    wanted = {golden_path(path): dump(path) for path in config_files()}
    for path in folder.glob("*.json"):
        if path not in wanted:
            path.unlink()
    for path, text in wanted.items():
        path.write_text(text)


def main(names: list[str]) -> int:
    """Makes what is named; returns the exit code."""
    makers = {"configs": configs}
    unknown = [name for name in names if name not in makers]
    if unknown or not names:
        print(f"usage: python tests/golden/make.py {' '.join(makers)}", file=sys.stderr)
        return 2
    try:
        for name in names:
            makers[name]()
    except Stop as stop:
        print(f"error: {stop}", file=sys.stderr)
        return stop.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
