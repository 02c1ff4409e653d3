"""When a request has arrived, and how slow a client may be."""

import socket
import threading
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superres.service.arriving import HEAD_BYTES, ArrivingRequest
from superres.service.pace import LEAST_RATE, SILENT_SECONDS, Pace, PacedSocket

HEAD = b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"


def after(*parts: bytes) -> ArrivingRequest:
    request = ArrivingRequest()
    for part in parts:
        request.add(part)
    return request


# ---- what has arrived


@pytest.mark.parametrize(
    "whole",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
        HEAD + b"token",
        HEAD.replace(b"Content-Length", b"content-LENGTH") + b"token",
        HEAD.replace(b": 5", b":5 \t") + b"token",
    ],
)
def test_a_request_is_complete_with_its_last_byte(whole):
    assert after(whole).complete
    assert after(whole, b"GET").complete
    request = after()
    for number in range(len(whole)):
        request.add(whole[number : number + 1])
        assert request.complete == (number == len(whole) - 1)
    assert not request.too_large


@given(st.lists(st.integers(0, len(HEAD) + 5), max_size=6))
def test_it_does_not_matter_how_the_bytes_were_split(cuts):
    whole, places = HEAD + b"token", [0, *sorted(cuts), len(HEAD) + 5]
    request = after(*(whole[start:end] for start, end in pairwise(places)))
    assert request.complete
    assert bytes(request.received) == whole


@pytest.mark.parametrize(
    "head",
    [
        HEAD.replace(b": 5", b": 1000000"),
        HEAD.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
        b"GET / HTTP/1.1\nHost: x\n",  # the parser refuses it
    ],
)
def test_what_need_not_be_awaited_is_complete_without_a_body(head):
    assert after(head).complete


def test_a_head_has_a_largest_size():
    assert not after(b"GET / HTTP/1.1\r\nX: ", b"a" * (HEAD_BYTES - 100)).too_large
    assert after(b"GET / HTTP/1.1\r\nX: ", b"a" * HEAD_BYTES).too_large
    whole = b"GET / HTTP/1.1\r\nX: " + b"a" * HEAD_BYTES + b"\r\n\r\n"
    assert after(whole).too_large


def test_a_client_may_await_a_go_ahead_for_a_small_body():
    expecting = HEAD.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
    assert after(expecting).awaits_continue
    assert not after(expecting + b"token").awaits_continue
    assert not after(HEAD).awaits_continue
    # The server gives it for a large one.
    assert not after(expecting.replace(b": 5", b": 1000000")).awaits_continue


# ---- how slow a client may be


def test_silence_is_bounded():
    pace = Pace()
    assert pace.left() == SILENT_SECONDS
    pace.moved(0, SILENT_SECONDS - 1)
    assert pace.left() == 1
    pace.moved(0, 1)
    with pytest.raises(TimeoutError, match="slower than 4096 bytes per second"):
        pace.left()


def test_whoever_keeps_the_least_rate_may_take_any_time():
    pace = Pace()
    for _ in range(100_000):
        pace.moved(LEAST_RATE, 1)
    assert pace.left() == SILENT_SECONDS


def test_a_quick_beginning_buys_no_slow_end():
    pace = Pace()
    pace.moved(1 << 30, 1)
    for _ in range(27):
        assert pace.left() > 0
        pace.moved(1, 1.1)
    pace.moved(1, 1.1)
    with pytest.raises(TimeoutError):
        pace.left()


def test_a_paced_socket_gives_first_what_was_received_before():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        paced = PacedSocket(ours, b"before")
        theirs.sendall(b"after")
        assert paced.recv(3) == b"bef"
        assert paced.recv(100) == b"ore"
        assert paced.recv(100) == b"after"
        paced.stop_waiting()
        with pytest.raises(TimeoutError):
            paced.recv(100)


def test_a_paced_socket_sends_all_of_bytes_and_files(tmp_path):
    content = bytes(range(256)) * 4096
    (tmp_path / "file").write_bytes(content)
    received = bytearray()
    ours, theirs = socket.socketpair()

    def receive() -> None:
        while data := theirs.recv(1 << 16):
            received.extend(data)

    with theirs:
        reader = threading.Thread(target=receive)
        reader.start()
        with ours, (tmp_path / "file").open("rb") as file:
            paced = PacedSocket(ours, b"")
            paced.sendall(content)
            assert paced.sendfile(file, 100, 1000) == 1000
            assert paced.sendfile(file, 0, len(content) + 1) == len(content)
        reader.join(30)
    assert bytes(received) == content + content[100:1100] + content
