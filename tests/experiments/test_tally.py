"""Points are counted as their directories stand, and failures from now on."""

import json
import os

from experiments.lib import tally


def written(folder, status, at):
    folder.mkdir(exist_ok=True)
    (folder / "meta.json").write_text(json.dumps({"status": status}))
    os.utime(folder / "meta.json", ns=(at, at))


def test_a_failure_of_an_earlier_attempt_counts_when_it_comes_again(tmp_path):
    done, failed, new = (tmp_path / name for name in ("done", "failed", "new"))
    written(failed, "failed", at=1)
    counting = tally.Tally([done, failed, new])
    assert counting.count() == (0, 0)
    written(done, "done", at=2)
    (done / "DONE").touch()
    written(new, "failed", at=2)
    assert counting.count() == (1, 1)
    assert counting.failed(new)
    assert not counting.failed(failed)
    written(failed, "failed", at=3)
    assert counting.count() == (1, 2)
