"""main.ipynb as a newcomer runs it, cell after cell, and what is left of it at the end."""

import math
import os
import re
import signal
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import nbformat
import psutil
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from traitlets.config import Config

from superres.pipeline import storage
from superres.pipeline.records import Evaluation, name_of
from tests.support.http_server import until
from tests.support.kafka_broker import unstarted_broker
from tests.support.paths import ROOT

NOTEBOOK = ROOT / "main.ipynb"
MARK = "TEST_OF_THE_NOTEBOOK"  # in the environment of the kernel and of all that it starts
PATIENCE = 60.0


class Opened:
    """The notebook with a kernel, in the repository's folder; what it writes lies elsewhere."""

    def __init__(self, folder: Path, choices: Mapping[str, object]) -> None:
        book: Any = nbformat.read(NOTEBOOK, as_version=4)
        self.cells = {cell.id: cell for cell in book.cells}
        self._positions = {cell.id: position for position, cell in enumerate(book.cells)}
        self.folder = folder
        chosen = {"FOLDER": str(folder), **choices}
        self.cells["choices"].source += "".join(f"\n{key} = {chosen[key]!r}" for key in chosen)
        self.client = NotebookClient(
            book,
            timeout=500,  # of a cell
            resources={"metadata": {"path": str(ROOT)}},
            config=Config(KernelManager={"transport": "ipc"}),  # takes no ports
        )
        self.mark = uuid.uuid4().hex
        self.kernel = 0

    @contextmanager
    def started(self) -> Iterator[None]:
        """With a kernel."""
        chosen = ("KAFKA_", "SUPERRES_")  # what a developer may have chosen
        users = {key: text for key, text in os.environ.items() if not key.startswith(chosen)}
        ours = {MARK: self.mark, "IPYTHONDIR": str(self.folder / "ipython")}
        with self.client.setup_kernel(env=users | ours):
            self.kernel = self.client.km.provisioner.pid
            yield

    def run(self, *cells: str) -> None:
        """Runs cells by their names."""
        for name in cells:
            self.client.execute_cell(self.cells[name], self._positions[name])

    def run_until(self, cell: str) -> None:
        """Runs all cells before one."""
        self.run(*(name for name in self.cells if self._positions[name] < self._positions[cell]))

    def shown(self, cell: str, kind: str = "text/plain") -> list[str]:
        """What a cell shows of a kind; streams are plain text."""
        found = []
        for output in self.cells[cell].outputs:
            if output.output_type == "stream" and kind == "text/plain":
                found.append(output.text)
            found += [output.data[kind]] if kind in output.get("data", {}) else []
        return found

    def complaint(self, cell: str) -> list[str]:
        """What a cell that fails shows, line by line."""
        with pytest.raises(CellExecutionError):
            self.run(cell)
        (error,) = (each for each in self.cells[cell].outputs if each.output_type == "error")
        return list(error.traceback)

    def beside(self) -> list[str]:
        """The command lines of everything that was started from it and lives."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.pid != self.kernel and process.environ().get(MARK) == self.mark:
                    found.append(" ".join(process.cmdline()))
        return found


@contextmanager
def opened(folder: Path, **choices: object) -> Iterator[Opened]:
    """Opens the notebook, and sees to it that nothing of it is left behind."""
    notebook = Opened(folder, choices)
    with notebook.started():
        yield notebook
    until(lambda: not notebook.beside(), PATIENCE)


def page_of(notebook: Opened) -> str:
    """The gallery's address."""
    (shown,) = notebook.shown("gallery", "text/markdown")
    found = re.search(r"<(http://127\.0\.0\.1:\d+)>", shown)
    assert found, shown
    return found[1]


def evaluations(folder: Path) -> list[Evaluation]:
    files = storage.list_files(str(folder / "results" / "evaluations"))
    return [Evaluation.from_json(storage.read_bytes(file.uri), file.uri) for file in files]


# ---- as it is committed


def test_it_is_committed_without_outputs():
    book: Any = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(book)
    remedy = "clear the outputs of main.ipynb (Edit → Clear Outputs of All Cells) and save it"
    for cell in book.cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None), remedy


def test_every_cell_is_explained():
    book: Any = nbformat.read(NOTEBOOK, as_version=4)
    kinds = [cell.cell_type for cell in book.cells]
    assert kinds == ["markdown", "code"] * (len(kinds) // 2)


# ---- as it runs


@pytest.mark.parametrize(
    ("choice", "complaint"),
    [
        ({"SCALE": 5}, "processing.upscale_factor: input should be 2, 3 or 4, got 5"),
        ({"MODE": "enlarge"}, "ingestion.mode: input should be 'evaluate' or 'upscale'"),
    ],
)
def test_a_wrong_choice_is_one_line(choice, complaint, tmp_path):
    with opened(tmp_path, **choice) as notebook:
        notebook.run("choices")
        (line,) = notebook.complaint("configuration")
        assert complaint in line
        assert "\n" not in line


@pytest.mark.kafka
@pytest.mark.spark
@pytest.mark.slow
def test_it_runs_from_beginning_to_end(tmp_path):
    unstarted_broker(tmp_path)  # skips where it could not be started
    config = (ROOT / "config.yaml").read_bytes()
    with opened(tmp_path, LIMIT=3) as notebook:
        notebook.run_until("end")

        finished = evaluations(tmp_path)
        assert len(finished) == 3
        for record in finished:
            assert Path(record.result.uri).is_file()
            ours, bicubic = record.ours, record.bicubic
            assert math.inf > (ours.psnr or 0) > (bicubic.psnr or math.inf)
            assert 1 > ours.ssim > bicubic.ssim
        assert "3 of 3 photographs" in notebook.shown("stored", "text/html")[0]
        bars = notebook.shown("spark", "text/html")[0]
        assert re.findall(r"<td>(\w+)<td>", bars) == ["split", "infer", "reconstruct", "evaluate"]
        assert bars.count("3 of 3 images") == 3
        (table,) = notebook.shown("table")
        for record in finished:
            assert name_of(record.source) in table
            assert f"{record.ours.psnr:.2f}" in table
        assert [len(notebook.shown(cell, "image/png")) for cell in ("plot", "pictures")] == [1, 1]

        page = page_of(notebook)
        with urlopen(page, timeout=10) as answer:
            html = answer.read().decode()
        assert all(record.image_id in html for record in finished)
        running = "\n".join(notebook.beside())
        for what in ("kafka.Kafka", "superres consume", "superres notify", "SparkSubmit"):
            assert what in running

        notebook.run("end")
        assert notebook.beside() == []
        with pytest.raises(URLError):
            urlopen(page, timeout=10)
    assert (ROOT / "config.yaml").read_bytes() == config


@pytest.mark.kafka
@pytest.mark.slow
def test_nothing_is_left_of_one_that_fails_or_is_killed(tmp_path):
    unstarted_broker(tmp_path)  # skips where it could not be started
    nowhere = tmp_path / "nowhere"
    with opened(tmp_path, SOURCE=str(nowhere)) as notebook:
        notebook.run("end")  # alone, where nothing runs
        notebook.run("choices", "configuration", "kafka", "ingestion")
        (line,) = notebook.complaint("stored")
        assert f"produce: {nowhere}: no such file or folder" in line
        assert notebook.beside()
        notebook.run("end")
        assert notebook.beside() == []

        notebook.run("kafka", "ingestion")
        assert len(notebook.beside()) > 2
        os.kill(notebook.kernel, signal.SIGKILL)
        until(lambda: not notebook.beside(), PATIENCE)
