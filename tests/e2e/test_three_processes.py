"""The simulator and three processes give the same results, bit for bit where sums are opened.

What is computed on shares is rounded under random masks: the same at every site, but not in every run.
"""

import json
from pathlib import Path

import pytest

import fedstats as fs
from fedstats.demo import data
from fedstats.demo.stage import enrol, register, run_everywhere

SCRIPT = """
from pathlib import Path
import fedstats as fs
from three_analyses import analyse

with fs.join() as fed:
    results = analyse(fed, "patients", "volunteers", "genotypes")
Path("digest.json").write_text(results)
"""

ANALYSES = '''
"""The analyses of the test, imported by the processes' script and by the simulator's program."""

import json
import fedstats as fs

FORMULA = "progression ~ age * C(sex) + bp"


def exact(frame):
    """Return a table as text that differs whenever a bit of it does."""
    def cell(value):
        return value.hex() if isinstance(value, float) else str(value)
    return [[str(index), *map(cell, row)] for index, *row in frame.itertuples()]


def analyse(fed, patients, volunteers, genotypes):
    rows = fed.cohort(patients)
    people = fed.cohort(volunteers, id="sample_id")
    hits = fs.gwas.linear(
        fed.genotypes(genotypes), people, trait="ldl", covariates=["age", "sex"], ambiguous="drop",
        disclose="aggregate",
    )
    return json.dumps(
        {
            "describe": exact(fs.describe(rows, by="weight", disclose="aggregate").to_frame()),
            "ols": exact(fs.ols(FORMULA, rows, cov_type="HC3", disclose="aggregate").to_frame()),
            "gwas": exact(hits.to_frame()),
            "on shares": [exact(fs.describe(rows).to_frame()), exact(fs.ols(FORMULA, rows).to_frame())],
        }
    )
'''


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    folders = {site: tmp_path / site for site in data.SHARES}
    for folder in folders.values():
        folder.mkdir()
    data.write_clinical(folders)
    data.write_genotypes(folders, samples=400, variants=500)
    return folders


def test_simulate_and_three_processes_agree_bit_for_bit(tmp_path, folders, monkeypatch):
    script = tmp_path / "analysis.py"
    script.write_text(SCRIPT)
    (tmp_path / "three_analyses.py").write_text(ANALYSES)
    enrol(folders)
    for folder in folders.values():
        register(folder, data.REGISTERED)
    run_everywhere(script, folders)
    processes = [(folder / "digest.json").read_text() for folder in folders.values()]

    monkeypatch.syspath_prepend(str(tmp_path))
    from three_analyses import analyse

    def program(fed: fs.Federation, folder: Path) -> str:
        return analyse(fed, *(folder / file for file in data.REGISTERED.values()))

    simulated = fs.simulate(program, list(folders.values()), names=list(folders))
    assert len(set(processes)) == len(set(simulated)) == 1
    theirs, ours = json.loads(processes[0]), json.loads(simulated[0])
    near = [[float.fromhex(row[2]) for row in results.pop("on shares")[1]] for results in (theirs, ours)]
    assert near[0] == pytest.approx(near[1], rel=1e-8)
    assert theirs == ours
    assert len(ours["gwas"]) > 300
