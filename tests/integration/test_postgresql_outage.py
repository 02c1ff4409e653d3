"""The database of the notifier while its PostgreSQL server is down."""

import pytest

from notifier.store.database import open_database
from notifier.store.images import image_of, record_evaluation
from superres.errors import StorageError
from tests.support.evaluation_records import evaluation, image_id, record_all
from tests.support.postgresql import Postgres

pytestmark = pytest.mark.postgresql


def test_opening_a_database_without_a_server_fails(postgres: Postgres):
    postgres.stop()
    with pytest.raises(StorageError, match="does not answer"):
        open_database(postgres.url)


def test_a_database_recovers_when_its_server_is_back(postgres: Postgres):
    database = open_database(postgres.url)
    record_all(database, evaluation(1))

    def record_and_stop() -> None:
        with database.writing() as session:
            record_evaluation(session, evaluation(3), "uri", "tag")
            postgres.stop()

    postgres.stop()
    for use in (
        lambda: record_all(database, evaluation(2)),
        lambda: database.change(),
    ):
        with pytest.raises(StorageError, match="does not answer"):
            use()
    postgres.start()
    assert record_all(database, evaluation(1), evaluation(2)) == [False, True]
    with pytest.raises(StorageError):
        record_and_stop()
    postgres.start()
    with database.reading() as session:
        assert image_of(session, image_id(3)) is None
    database.close()
