"""The page of operators is what the modules say."""

from pathlib import Path

from experiments.pooling import catalogue

PAGE = Path(__file__).resolve().parents[3] / "research" / "pooling" / "CATALOGUE.md"


def test_the_page_is_written_from_the_modules():
    assert PAGE.read_text() == catalogue.page(), "run python -m experiments.pooling.catalogue"
