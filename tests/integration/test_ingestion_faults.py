"""Faults: whatever crashes, a good image is stored once and a bad one rejected with a reason.

Real processes, a real broker and a real HTTP server. Every test ends in `World.settle`, which also
checks that no offset of an unfinished message was ever committed.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from superres.pipeline import storage
from superres.pipeline.records import ImageReference
from superres.pipeline.storage.s3 import forget_clients
from tests.support.http_server import until
from tests.support.image_files import bad_images, noise, pillow
from tests.support.ingestion_processes import World, unreadable_id
from tests.support.kafka_broker import PATIENCE, Broker

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


@pytest.fixture
def world(broker: Broker, tmp_path: Path) -> Iterator[World]:
    with World(broker, str(tmp_path / "data"), tmp_path / "scratch") as new:
        yield new


def test_an_image_is_stored_after_its_consumer_was_killed_while_fetching(world):
    # Later messages on its partition are finished before it.
    world.publish(*world.offer(1, "slow", drip_seconds=0.05))
    world.publish(*world.offer(12))
    killed = world.consumer()
    until(lambda: world.source.hits["/slow-0.png"] > 0 and len(world.stored()) == 12, PATIENCE)
    until(lambda: bool(world.watch.committed()), PATIENCE)
    killed.kill()
    world.publish(*world.offer(4, "later"))
    content = world.good[world.reference(world.source.url("/slow-0.png")).image_id][1]
    world.source.serve("/slow-0.png", content)
    world.consumer()
    world.settle()
    assert world.source.hits["/slow-0.png"] == 2
    assert world.temporary_files() == []


def test_images_are_stored_after_the_broker_was_killed_while_consuming(world):
    world.publish(*world.offer(60, hold_seconds=0.1))
    consumer = world.consumer()
    until(lambda: len(world.stored()) >= 10, PATIENCE)
    try:
        world.broker.kill()
    finally:
        world.broker.start()
    world.publish(*world.offer(5, "later"))
    world.settle()
    consumer.terminate()
    assert consumer.wait() == 0, consumer.log


@pytest.mark.parametrize("ended", ["stopped", "killed"])
def test_every_reference_is_published_although_the_broker_restarts(world, ended):
    urls = [f"https://example.org/{number}.jpg" for number in range(300)]
    listed = world.scratch / "list.txt"
    listed.write_text("\n".join(urls))
    producer = world.start("produce", str(listed), "--rate", "60")
    until(lambda: sum(world.watch.ends().values()) >= 60, PATIENCE)
    try:
        world.broker.stop() if ended == "stopped" else world.broker.kill()
        assert producer.running
    finally:
        world.broker.start()
    assert producer.wait() == 0, producer.log
    assert producer.output == f"300 references published on {world.topic}\n"
    found = [ImageReference.from_json(message.value() or b"") for message in world.sent()]
    assert sorted(reference.url.full for reference in found) == sorted(urls)


def test_images_are_stored_while_consumers_join_and_leave(world):
    world.publish(*world.offer(60, hold_seconds=0.5))
    first = world.consumer()
    until(lambda: len(world.stored()) >= 5, PATIENCE)
    second = world.consumer()
    until(lambda: second.metric("messages_total") > 0, PATIENCE)
    assert first.metric("messages_total") > 0
    first.terminate()
    assert first.wait() == 0, first.log
    third = world.consumer()
    until(lambda: third.ready() and second.ready(), PATIENCE)
    world.publish(*world.offer(40, "later", hold_seconds=0.3))
    until(lambda: third.metric("messages_total") > 0, PATIENCE)
    second.kill()
    world.settle()
    finished = [int(event["finished"]) for event in first.events("consumed")]
    assert finished[0] > 0


def test_repeated_messages_store_each_image_once(world):
    offered = world.offer(30)
    world.publish(*offered, times=3)
    first = world.consumer()
    world.settle()
    world.publish(*offered, times=3)
    world.settle()
    assert first.metric("repeated_total") >= 90
    requests = world.source.hits.total()
    first.terminate()
    assert first.wait() == 0, first.log
    second = world.consumer()
    world.publish(*offered, times=3)
    world.settle()
    # A new consumer fetches each image again and overwrites it.
    assert world.source.hits.total() >= requests + 30
    second.terminate()
    assert second.wait() == 0, second.log


def test_bad_images_are_rejected_and_temporary_failures_are_retried(world):
    world.options |= {"INGESTION__FETCH_SECONDS": "2", "PROCESSING__MAX_MEGABYTES": "0.1"}
    serve, url = world.source.serve, world.source.url
    files = bad_images()
    kept = pillow(noise(300, 300, 3, 8), "PNG")
    assert len(kept) > 0.1 * 2**20
    redirects = {
        "loop": serve("/loop.png", redirect_to="/loop.png"),
        "private": serve("/private.png", redirect_to="http://169.254.169.254/latest/meta-data"),
    }
    bad = {
        url("/missing.png"): "the source answered 404",
        serve("/error.png", status=500): "the source answered 500 (tried 3 times)",
        serve("/cut.png", kept[:50_000], cut_at=20_000): "(tried 3 times)",
        serve("/drip.png", kept[:50_000], drip_seconds=0.2): "timed out (tried 3 times)",
        redirects["loop"]: "more than 5 redirects",
        redirects["private"]: "not public",
        "http://127.0.0.1:1/": "not public",
        "ftp://example.org/a.png": "not an http or https URL",
        "file:///etc/hostname": "outside the folders",
        "s3://bucket/key.png": "not in a bucket",
        serve("/page.png", files["page.jpg"]): "HTML",
        serve("/empty.png", b""): "the file is empty",
        serve("/large.png", kept): "more than 104,857 bytes",
        serve("/bomb.png", files["bomb.png"]): "50,000 × 50,000 pixels",
    }
    references = [world.reference(each) for each in bad]
    world.bad |= dict(zip((each.image_id for each in references), bad.values(), strict=True))
    # This mode decodes the pixels, which detects a truncated file.
    half = world.reference(serve("/half.png", files["half.png"]), "evaluate")
    world.bad[half.image_id] = "PNG"
    good = [
        *world.offer(3, "later", fail_first=2, fail_status=503),
        *world.offer(1, "errors", fail_first=2, fail_status=500),
        *world.offer(1, "busy", fail_first=1, fail_status=429, retry_after="2"),
        *world.offer(1, "moved-to"),
        *world.offer(5),
    ]
    world.publish(*references, half, *good)
    consumer = world.consumer()
    world.settle()
    assert consumer.metric("rejected_total") == len(world.bad)
    assert world.source.hits["/missing.png"] == 1
    assert world.source.hits["/busy-0.png"] == 2
    letters = {message.key(): message for message in world.dead_letters()}
    assert len(letters) == len(world.dead_letters()) == len(world.bad)
    for each in [*references, half]:
        message = letters[each.image_id.encode()]
        headers = dict(message.headers() or [])
        assert message.value() == each.to_json().encode()
        assert headers["reason"] == world.rejected()[each.image_id].reason.encode()
        assert headers["image_id"] == each.image_id.encode()


def test_messages_that_are_not_references_are_rejected(world):
    world.options |= {"KAFKA__DEAD_LETTERS_KEEP_URLS": "true"}
    reference = world.reference("https://example.org/a.jpg").to_message()
    bad = {
        b"not JSON": "Invalid JSON",
        b"x" * 1_048_450: "Invalid JSON",  # no room for a reason within the broker's limit
        b"": "Invalid JSON",
        b"\xff\xfe\x00\x01": "not a readable ImageReference",
        b"[1]": "not a readable ImageReference",
        reference.replace('"version":1', '"version":99').encode(): "version 99 is unknown",
        reference.replace('"version":1', f'"version":"{"9" * 900_000}"').encode(): "is no number",
        reference.replace('"url"', '"address"').encode(): "url: Field required",
        reference.replace('"scale":2', '"scale":7').encode(): "scale:",
        reference.replace(
            "2026-01-31T12:00:00Z", "0001-01-01T00:00:00+14:00"
        ).encode(): "requested_at",
    }
    world.bad = {unreadable_id(value): reason for value, reason in bad.items()}
    world.send(*((b"a key", value) for value in bad), headers=[("trace", b"7")])
    # No room for a reason even without the value.
    large = {b"large key": (b"k" * 1_048_400, b"7"), b"large header": (b"k", b"7" * 1_048_400)}
    for value, (key, trace) in large.items():
        world.send((key, value), headers=[("trace", trace)])
        world.bad[unreadable_id(value)] = "Invalid JSON"
    odd = [
        world.reference("http://[/a.png"),
        world.reference("file://[/a.png"),
        world.reference("file:///%00"),
        world.reference("s3:///a.png"),
        world.reference("s3://"),
        world.reference("http://a b/"),
        world.reference("\n"),
    ]
    world.bad |= {each.image_id: "" for each in odd}
    world.publish(*odd)
    world.publish(*world.offer(5))
    world.consumer()
    world.settle()
    letters = [message for message in world.dead_letters() if message.key() == b"a key"]
    kept = [message for message in letters if "left_out" not in dict(message.headers() or [])]
    assert len(letters) == len(bad)
    assert sorted(message.value() or b"" for message in kept) == sorted(
        value for value in bad if len(value) < 1_000_000
    )
    bare = [message for message in world.dead_letters() if message.key() is None]
    assert len(bare) == len(large)
    for message in bare:
        headers = dict(message.headers() or [])
        assert "trace" not in headers
        assert b"value, key and headers" in headers["left_out"]
        assert b"Invalid JSON" in headers["reason"]
    for message in kept:
        headers = dict(message.headers() or [])
        assert headers["trace"] == b"7"
        assert headers["stage"] == b"ingest"
        assert headers["origin"].startswith(f"{world.topic}/".encode())
        rejected = world.rejected()[unreadable_id(message.value() or b"")]
        assert headers["reason"] == rejected.reason.encode()
        assert rejected.source.encode() == headers["origin"]


def test_the_consumer_pauses_while_storage_fails(world):
    world.publish(*world.offer(6))
    consumer = world.consumer()
    world.settle()
    low, aside = Path(world.base) / "low", Path(world.base) / "low-aside"
    low.rename(aside)
    low.write_text("in the way")
    failed = time.monotonic()
    world.publish(*world.offer(12, "while-failing"))
    bad = world.reference(world.source.url("/missing.png"))
    world.publish(bad)
    world.bad[bad.image_id] = "the source answered 404"
    until(lambda: consumer.page("/readyz")[0] == 503, PATIENCE)
    until(lambda: consumer.metric("paused") == 1, PATIENCE)
    reason = consumer.page("/readyz")[1]
    assert str(low) in reason
    assert "cannot write" in reason

    before = consumer.metric("messages_total")
    world.publish(*world.offer(12, "while-paused"))
    committed = world.watch.committed()
    until(lambda: time.monotonic() - failed > 30, 40)
    assert consumer.page("/healthz")[0] == 200
    assert consumer.metric("messages_total") == before
    assert world.watch.committed().keys() == committed.keys()
    assert all(bad.image_id == each for each in world.rejected())
    # A storage failure causes no second fetch.
    requests = [world.source.hits[f"/while-failing-{number}.png"] for number in range(12)]
    assert max(requests) == 1

    low.unlink()
    aside.rename(low)
    world.settle()
    assert consumer.metric("paused") == 0
    assert consumer.ready()
    assert len(consumer.events("assigned")) == 1
    assert not consumer.events("revoked")
    assert len(world.dead_letters()) == 1


def test_images_are_stored_after_partitions_were_lost_while_storage_failed(world):
    consumer = world.consumer()
    until(consumer.ready, PATIENCE)
    low = Path(world.base) / "low"
    low.parent.mkdir(exist_ok=True)
    low.write_text("in the way")
    world.publish(*world.offer(12))
    until(lambda: consumer.metric("paused") == 1, PATIENCE)
    consumer.freeze()
    frozen = time.monotonic()
    until(lambda: time.monotonic() - frozen > 10, 15)  # its session is 6 s
    consumer.thaw()
    until(lambda: len(consumer.events("assigned")) > 1, PATIENCE)
    low.unlink()
    world.settle()
    assert consumer.ready()
    assert consumer.metric("paused") == 0


def test_sigterm_does_not_wait_for_a_slow_source(world):
    world.options["INGESTION__DRAIN_SECONDS"] = "2"
    world.source.serve("/drip.png", b"x" * 1000, drip_seconds=0.5, drip_bytes=1)
    consumer = world.consumer()
    drip = world.reference(world.source.url("/drip.png"))
    world.publish(drip)
    until(lambda: world.source.hits["/drip.png"] == 1, PATIENCE)
    start = time.monotonic()
    consumer.terminate()
    assert consumer.wait() == 0
    assert time.monotonic() - start < 15  # the whole image would take minutes
    assert not world.watch.committed()


def test_after_sigterm_begun_images_are_stored_and_the_others_left(world):
    threads = 2
    world.options["INGESTION__THREADS"] = str(threads)
    world.publish(*world.offer(1, "retried", fail_first=1, fail_status=503, retry_after="50"))
    quick = world.offer(8)
    world.publish(*quick)
    first = world.consumer()
    until(lambda: first.metric("retries_total") == 1 and len(world.stored()) == 8, PATIENCE)
    slow = world.offer(4, "slow", hold_seconds=1.5)
    world.publish(*slow)
    until(lambda: sum(world.source.hits[f"/slow-{n}.png"] for n in range(4)) >= threads, PATIENCE)
    first.terminate()
    assert first.wait() == 0, first.log
    begun = {
        each.image_id
        for each in [*quick, *slow]
        if world.source.hits[each.url.full.partition(world.source.host)[2]]
    }
    assert world.stored() == begun
    assert f"{len(begun)} images stored, 0 rejected" in first.output
    world.consumer()
    world.settle()


def test_both_modes_store_images_for_every_scale(world):
    for scale in (2, 3, 4):
        world.publish(*world.offer(2, f"truth-{scale}", "evaluate", scale))
        world.publish(*world.offer(2, f"input-{scale}", "upscale", scale))
    world.consumer()
    world.settle()


@pytest.mark.localstack
@pytest.mark.usefixtures("aws_environment")
def test_both_modes_store_images_in_s3(broker, bucket, tmp_path):
    forget_clients()  # it may have been made for another endpoint
    with World(broker, f"s3://{bucket}/data", tmp_path / "scratch") as world:
        world.options["INGESTION__S3_BUCKETS"] = f"[{bucket}]"
        kept = world.offer(1, "kept")[0]
        inside = world.reference(f"s3://{bucket}/inbox/kept.png")
        world.good[inside.image_id] = inside, world.good.pop(kept.image_id)[1]
        storage.write_bytes(inside.url.full, world.good[inside.image_id][1])
        gone = world.reference(f"s3://{bucket}/inbox/gone.png")
        world.bad[gone.image_id] = "no such object"
        world.publish(inside, gone, *world.offer(4, "truth", "evaluate"), *world.offer(4))
        killed = world.consumer()
        until(lambda: len(world.stored()) >= 2, PATIENCE)
        killed.kill()
        world.consumer()
        world.settle()
    forget_clients()
