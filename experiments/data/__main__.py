"""`python -m experiments.data --list` and `python -m experiments.data --fetch all|NAME`."""

from __future__ import annotations

import argparse
import sys

from experiments.data import fetch


def main(argv: list[str] | None = None) -> int:
    """Returns the exit code: 0, or 1 after one line that says what is wrong and what to do."""
    parser = argparse.ArgumentParser(prog="python -m experiments.data", description="Lists and fetches the data sets.")
    parser.add_argument("--list", action="store_true", help="names, download sizes, and what is here already")
    parser.add_argument("--fetch", metavar="NAME", choices=("all", *fetch.NAMES), help=f"all, {', '.join(fetch.NAMES)}")
    parser.add_argument("--data_dir", help="folder that holds the files already (default: $EQUIPOISE_DATA)")
    arguments = parser.parse_args(argv)
    if not (arguments.list or arguments.fetch):
        parser.print_help()
        return 2
    wanted = fetch.NAMES if arguments.fetch == "all" else (arguments.fetch,) if arguments.fetch else ()
    try:
        for name in wanted:
            source = fetch.source(name)
            fetch.read(source, arguments.data_dir)
            print(f"{name}: {fetch.locate(source, arguments.data_dir)}, checked.")
        if arguments.list:
            for name in fetch.NAMES:
                source = fetch.source(name)
                folder = fetch.locate(source, arguments.data_dir)
                here = f"in {folder}" if folder else "not here"
                print(f"{name:<10} {fetch.megabytes(source.download_bytes):>8}  {here}  ({source.licence})")
    except fetch.DataError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
