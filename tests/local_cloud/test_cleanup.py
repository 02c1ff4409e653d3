"""A killed test run leaves nothing."""

import socket
from contextlib import suppress
from pathlib import Path

from tests.local_cloud.stack import check_prerequisites
from tests.support.cleanup import killed_at_the_end
from tests.support.cleanup_process import processes_of
from tests.support.http_server import until

_RUN = """
import time
from tests.local_cloud.stack import running_stack

with running_stack() as stack:
    stack.start_kafka()
    print(stack.folder, stack.cloud.port, stack.broker.port, flush=True)
    time.sleep(600)
"""


def test_a_killed_test_run_leaves_nothing() -> None:
    check_prerequisites()
    with killed_at_the_end(_RUN) as printed:
        pass
    folder, ports = Path(printed[0]), [int(port) for port in printed[1:]]
    until(lambda: not folder.exists(), 60)
    assert list(processes_of(folder)) == []
    assert len(ports) == 2
    assert not any(map(listens, ports))


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
