from __future__ import annotations

import email.utils
import json
import threading
import time as real_time
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interactvlm.errors import InputError
from interactvlm.preparation.endpoint import ChatEndpoint, Completion, Endpoint, EndpointError
from tests.preparation.stub_endpoint import Reply, says

KEY = "sk-secret-0123456789abcdef"
HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture
def chat(stub, time) -> ChatEndpoint:
    return ChatEndpoint(Endpoint(stub.url, "small", KEY), sleep=time.sleep, clock=time.clock)


def test_one_call(stub, chat, time) -> None:
    stub.script = [says("{}")]
    assert chat.complete(HELLO, max_tokens=9) == Completion("{}", "", 100, 20)
    (request,) = stub.requests
    assert (request["model"], request["messages"], request["max_tokens"]) == ("small", HELLO, 9)
    assert stub.paths == ["/v1/chat/completions"]
    assert stub.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert time.slept == []


def test_without_a_key_none_is_sent(stub, chat) -> None:
    ChatEndpoint(Endpoint(stub.url + "/", "small")).complete(HELLO, max_tokens=9)
    assert "Authorization" not in stub.headers[0]
    assert stub.paths == ["/v1/chat/completions"]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 529])
def test_temporary_refusals_are_waited_out(stub, chat, time, status) -> None:
    stub.script = [Reply(status), Reply(status), says("{}")]
    assert chat.complete(HELLO, max_tokens=9).text == "{}"
    first, second = time.slept
    assert 0.5 <= first <= 1
    assert 1 <= second <= 2


def test_a_rate_limit_says_how_long(stub, chat, time) -> None:
    stub.script = [Reply(429, headers={"Retry-After": "17"}), says("{}")]
    chat.complete(HELLO, max_tokens=9)
    assert time.slept == [17]
    date = email.utils.formatdate(real_time.time() + 100, usegmt=True)
    stub.script = [Reply(429, headers={"Retry-After": date}), says("{}")]
    chat.complete(HELLO, max_tokens=9)
    assert 90 < time.slept[1] <= 100


def test_one_threads_rate_limit_holds_for_all(stub, chat, time) -> None:
    stub.script = [Reply(429, headers={"Retry-After": "30"})]
    single = ChatEndpoint(replace(chat.endpoint, attempts=1), sleep=time.sleep, clock=time.clock)
    with pytest.raises(EndpointError, match="failed 1 times, at last: status 429"):
        single.complete(HELLO, max_tokens=9)
    single.complete(HELLO, max_tokens=9)
    assert time.slept == [30]


def test_too_much_patience_is_refused(stub, chat) -> None:
    stub.script = [Reply(429, headers={"Retry-After": "7200"})]
    with pytest.raises(EndpointError, match="asks to come back in 7200 s, the limit is 600"):
        chat.complete(HELLO, max_tokens=9)
    assert stub.paid == 1


@pytest.mark.parametrize("value", ["soon", "nan", "-5", "", "Mon, 99 Foo 20 99:99:99 GMT"])
def test_a_nonsensical_retry_after(stub, chat, time, value) -> None:
    stub.script = [Reply(429, headers={"Retry-After": value}), says("{}")]
    assert chat.complete(HELLO, max_tokens=9).text == "{}"
    assert all(0 <= seconds <= 1 for seconds in time.slept)


def test_dropped_lines_are_tried_again(stub, chat) -> None:
    stub.script = [Reply(drop=True), says("{}")]
    assert chat.complete(HELLO, max_tokens=9).text == "{}"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_permanent_refusals_are_told_at_once(stub, chat, status) -> None:
    told = json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}.\nGo away"}}).encode()
    stub.script = [Reply(status, told)]
    with pytest.raises(EndpointError) as caught:
        chat.complete(HELLO, max_tokens=9)
    assert str(caught.value).endswith(f"refuses: status {status} (Incorrect API key provided: [key]. Go away)")
    assert stub.paid == 1
    assert caught.value.exit_code == 5


def test_redirects_are_not_followed(stub, chat) -> None:
    stub.script = [Reply(302, headers={"Location": f"{stub.url}/elsewhere"})]
    with pytest.raises(EndpointError, match="refuses: status 302"):
        chat.complete(HELLO, max_tokens=9)
    assert stub.paid == 1


def test_a_service_that_is_not_there(time) -> None:
    chat = ChatEndpoint(Endpoint("http://127.0.0.1:9/v1", "m", attempts=3), sleep=time.sleep, clock=time.clock)
    with pytest.raises(EndpointError, match=r"9/v1: failed 3 times, at last: cannot be reached \(.*refused\)"):
        chat.complete(HELLO, max_tokens=9)


@pytest.mark.parametrize(
    "body",
    [b"", b"no json", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{"message": null}]}', b"\xff", b"[" * 100_000],
)
def test_malformed_answers_are_tried_again(stub, chat, body) -> None:
    stub.script = [Reply(body=body), says("{}")]
    assert chat.complete(HELLO, max_tokens=9).text == "{}"
    stub.script = [Reply(body=body)] * 6
    with pytest.raises(EndpointError, match="failed 6 times, at last: answers with something that is no chat compl"):
        chat.complete(HELLO, max_tokens=9)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(st.sampled_from(["choices", "message", "content", "usage", "prompt_tokens"]), inner)
        ),
        max_leaves=10,
    ),
    st.sampled_from([200, 400, 500]),
)
def test_any_json_is_an_answer_or_one_sentence(stub, chat, content, status) -> None:
    single = ChatEndpoint(replace(chat.endpoint, attempts=1), sleep=lambda _: None, clock=lambda: 1e18)
    stub.script = [Reply(status, json.dumps(content).encode())]
    try:
        text = single.complete(HELLO, max_tokens=9).text
    except EndpointError as error:
        text = str(error)
    assert "\n" not in text or status == 200
    assert KEY not in text


def test_who_gives_up_waits_no_longer(stub) -> None:
    chat = ChatEndpoint(Endpoint(stub.url, "m"))
    stub.script = [Reply(429, headers={"Retry-After": "500"})]
    failed: list[str] = []

    def ask() -> None:
        with pytest.raises(EndpointError) as caught:
            chat.complete(HELLO, max_tokens=9)
        failed.append(str(caught.value))

    asking = threading.Thread(target=ask)
    asking.start()
    while not stub.paid:
        real_time.sleep(0.01)
    chat.give_up()
    asking.join(timeout=30)
    assert failed == [f"{stub.url}: was given up"]
    assert stub.paid == 1


def test_an_endless_answer(stub, chat) -> None:
    stub.script = [Reply(body=b" " * (5 << 20))]
    with pytest.raises(EndpointError, match="answers with more than 4194304 bytes"):
        chat.complete(HELLO, max_tokens=9)


def test_refusals_of_the_model(stub, chat) -> None:
    stub.script = [says(None, refusal="I cannot help with that.")]
    assert chat.complete(HELLO, max_tokens=9).refusal == "I cannot help with that."


def test_the_key_is_shown_nowhere() -> None:
    endpoint = Endpoint("https://host/v1", "m", KEY)
    assert KEY not in repr(endpoint) + str(endpoint)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ftp://host", "m"), r"must be http\(s\)"),
        (("https://", "m"), r"must be http\(s\)"),
        (("https://user:word@host/v1", "m"), "without user, query or fragment"),
        (("https://host/v1?x=1", "m"), "without user, query or fragment"),
        (("https://host:port/v1", "m"), "is no address"),
        (("https://[host/v1", "m"), "is no address"),
        (("http://host/v1", "m", KEY), "would carry the key unencrypted; use https"),
        (("http://127.0.0.1.evil.org/v1", "m", KEY), "would carry the key unencrypted"),
        (("https://host/v1", " "), "is no name of a model"),
        (("https://host/v1", "m", "a\nb"), "INTERACTVLM_VQA_KEY: holds characters that no key has"),
        (("https://host/v1", "m", "", 0), "has timeout 0 and 6 attempts"),
        (("https://host/v1", "m", "", 9, 0), "has timeout 9 and 0 attempts"),
    ],
)
def test_unusable_endpoints(arguments, message) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Endpoint(*arguments)
    assert KEY not in str(caught.value)
    assert "word" not in str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_this_machine_needs_no_encryption(host) -> None:
    assert Endpoint(f"http://{host}:8000/v1", "m", KEY).key == KEY
