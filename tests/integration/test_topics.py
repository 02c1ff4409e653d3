"""Topics that do not exist yet, on a real broker."""

import uuid

import pytest

from ingestion.topics import require_topics
from superres.errors import PrerequisiteError
from superres.pipeline.config import Kafka
from tests.support.kafka_broker import Broker
from tests.support.msk_server import CLUSTER_ARN, msk_server, serve_brokers

pytestmark = pytest.mark.kafka


def test_missing_topics_on_msk_are_created_with_the_defaults_of_its_brokers(
    monkeypatch, broker: Broker
):
    names = [f"{part}-{uuid.uuid4().hex[:8]}" for part in ("images", "dead")]
    kafka = Kafka(cluster_arn=CLUSTER_ARN, topic=names[0], dead_letter_topic=names[1])
    with msk_server(monkeypatch) as msk:
        serve_brokers(msk, bootstrapBrokerString=broker.bootstrap)
        require_topics(kafka)
        require_topics(kafka)  # now they exist
    assert set(names) <= set(broker.topics())


def test_missing_topics_elsewhere_are_reported(broker: Broker):
    kafka = Kafka(bootstrap_servers=broker.bootstrap, topic="nowhere")
    with pytest.raises(PrerequisiteError, match="has no topic 'nowhere'"):
        require_topics(kafka)
    assert "nowhere" not in broker.topics()
