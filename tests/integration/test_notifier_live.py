"""`superres notify` as a process: from a record in storage to a picture in an open page."""

import sqlite3
import statistics
import time
from contextlib import closing
from http.client import HTTPConnection
from itertools import cycle
from pathlib import Path

import pytest

from superres.pipeline import storage
from superres.pipeline.records import Evaluation, StoredImage
from superres.pipeline.storage.s3 import forget_clients
from tests.support.chromium import Page, chromium
from tests.support.evaluation_records import evaluation, evaluation_uri, image_id, write
from tests.support.example_gallery import Gallery, sample
from tests.support.http_server import until
from tests.support.kafka_broker import PATIENCE
from tests.support.notifier_process import address, answer, notify
from tests.support.sqs_queues import make_queue

ROUNDS = 5


def seconds_to_page(page: Page, records: list[Evaluation], results: str) -> float:
    """The median time from writing a record to its picture being visible."""
    times = []
    for record in records:
        uri = evaluation_uri(results, record)
        storage.write_bytes(uri, record.to_json().encode())
        began = time.perf_counter()
        picture = f"document.querySelector('[aria-labelledby=\"name-{record.image_id}\"] img')"
        page.wait(f"{picture}?.complete && {picture}.naturalWidth > 0")
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def finished(folder: Path, count: int) -> tuple[Gallery, list[Evaluation]]:
    """Results in a folder without their records, which are returned."""
    gallery = Gallery(folder)
    content, _ = sample(0, 160)
    records = []
    for number in range(count):
        record = gallery.finish(content, f"boat-{number}.png", recorded=False)
        Path(evaluation_uri(results_of(gallery), record)).unlink()
        records.append(record)
    return gallery, records


def results_of(gallery: Gallery) -> str:
    return gallery.settings.dataset.reconstructed_images_dir


@pytest.mark.chromium
def test_from_a_folder_to_an_open_page_within_a_second(tmp_path):
    gallery, records = finished(tmp_path, ROUNDS)
    config = {"dataset": gallery.settings.dataset.model_dump()}
    with notify(tmp_path, config) as service, chromium() as page:
        page.open(f"{address(service)}/")
        seconds = seconds_to_page(page, records, results_of(gallery))
        print(f"event to page, folder: median {seconds:.2f} s")
        assert seconds <= 1.0
        assert page.complaints == []
    gallery.close()


@pytest.mark.chromium
@pytest.mark.localstack
def test_from_s3_over_a_queue_to_an_open_page_within_two_seconds(tmp_path, bucket, aws_environment):
    boto3 = pytest.importorskip("boto3")
    gallery, local = finished(tmp_path, ROUNDS)
    base = f"s3://{bucket}"

    def uploaded(stored: StoredImage) -> StoredImage:
        uri = f"{base}/{Path(stored.uri).relative_to(tmp_path)}"
        storage.write_file(uri, Path(stored.uri))
        return stored.model_copy(update={"uri": uri})

    forget_clients()  # it may have been made for another endpoint
    records = [
        record.model_copy(
            update={
                name: uploaded(getattr(record, name))
                for name in ("low_resolution", "result", "original")
            }
        )
        for record in local
    ]
    s3, queue = boto3.client("s3"), make_queue()
    configuration = {
        "QueueArn": queue.arn,
        "Events": ["s3:ObjectCreated:*"],
        "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "results/evaluations/"}]}},
    }
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [configuration]}
    )
    dataset = {
        "high_resolution_dir": f"{base}/high",
        "low_resolution_dir": f"{base}/low",
        "reconstructed_images_dir": f"{base}/results",
    }
    config = {"dataset": dataset, "notifier": {"events_queue_url": queue.url}}
    with notify(tmp_path, config) as service, chromium() as page:
        page.open(f"{address(service)}/")
        seconds = seconds_to_page(page, records, f"{base}/results")
        print(f"event to page, S3 and SQS: median {seconds:.2f} s")
        assert seconds <= 2.0
        assert page.complaints == []
    queue.client.close()
    s3.close()
    forget_clients()
    gallery.close()


def test_images_finished_before_the_start_are_shown(tmp_path):
    results = str(tmp_path / "results")
    write(results, *(evaluation(number, minutes=number) for number in range(30)))
    with notify(tmp_path, {"dataset": {"reconstructed_images_dir": results}}) as service:
        at = address(service)
        until(lambda: answer(f"{at}/api/v1/totals")["images"] == 30, PATIENCE)
        newest = answer(f"{at}/api/v1/images?limit=1")["images"][0]
        assert newest["image_id"] == image_id(29)


def test_readiness_and_the_page_agree_on_a_damaged_database(tmp_path):
    config = {"dataset": {"reconstructed_images_dir": str(tmp_path / "results")}}
    with notify(tmp_path, config) as service:
        at, limits = address(service).removeprefix("http://"), cycle(range(1, 100))

        def statuses() -> set[int]:
            found = set()
            # Another number each time: answers are kept until something changes.
            for path in ("/readyz", f"/api/v1/runs?limit={next(limits)}"):
                connection = HTTPConnection(at, timeout=PATIENCE)
                connection.request("GET", path)
                found.add(connection.getresponse().status)
                connection.close()
            return found

        until(lambda: statuses() == {200}, PATIENCE)
        with closing(sqlite3.connect(tmp_path / "own.db")) as damaged:
            damaged.execute("ALTER TABLE runs RENAME TO lost")
            damaged.commit()
            until(lambda: statuses() == {503}, PATIENCE)
            assert "no such table" in service.events("not_ready")[-1]["reason"]
            damaged.execute("ALTER TABLE lost RENAME TO runs")
            damaged.commit()
        until(lambda: statuses() == {200}, PATIENCE)
        assert len(service.events("ready_again")) == 1


def test_many_streams_leave_threads_for_other_requests_and_do_not_delay_the_stop(tmp_path):
    config = {
        "dataset": {"reconstructed_images_dir": str(tmp_path / "results")},
        "notifier": {"threads": 40},
    }
    with notify(tmp_path, config) as service:
        at = address(service)
        host = at.removeprefix("http://")
        streams = []
        for _ in range(60):
            connection = HTTPConnection(host, timeout=PATIENCE)
            connection.request("GET", "/events")
            response = connection.getresponse()
            streams.append((connection, response))
        statuses = [response.status for _, response in streams]
        assert statuses.count(200) == 20
        assert statuses.count(503) == 40
        assert answer(f"{at}/api/v1/totals")["images"] == 0
        began = time.monotonic()
        service.terminate()
        assert service.wait(PATIENCE) == 0
        assert time.monotonic() - began < 8
        for connection, _ in streams:
            connection.close()


@pytest.mark.parametrize(
    ("arguments", "notifier", "environment", "complaint"),
    [
        (["--host", "0.0.0.0"], {}, {"SUPERRES_NOTIFIER_TOKEN": ""}, "SUPERRES_NOTIFIER_TOKEN"),
        ([], {}, {"SUPERRES_NOTIFIER_TOKEN": "short"}, "SUPERRES_NOTIFIER_TOKEN"),
        ([], {"database_url": "mysql://db/x"}, {}, "notifier.database_url"),
        (["--host", "192.0.2.1"], {}, {}, "cannot listen there"),
        ([], {"uploads_url": "javascript:alert(1)"}, {}, "notifier.uploads_url"),
        ([], {"events_queue_url": "http://127.0.0.1:1/q"}, {}, "notifier.events_queue_url"),
    ],
)
def test_an_invalid_configuration_is_reported_in_one_line(
    tmp_path, arguments, notifier, environment, complaint
):
    config = {
        "dataset": {"reconstructed_images_dir": str(tmp_path / "results")},
        "notifier": notifier,
    }
    with notify(tmp_path, config, *arguments, **environment) as service:
        assert service.wait(PATIENCE) == 1
    (line,) = service.log.splitlines()
    assert line.startswith("superres: ")
    assert complaint in line
