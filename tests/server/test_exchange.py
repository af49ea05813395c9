"""The notebook of one request, and the row that is made of it."""

import re
import time

from lowproxy.core.usage import Usage
from lowproxy.errors import (
    BadRequestError,
    LowproxyError,
    NothingEligibleError,
    UpstreamCutError,
    UpstreamRefusedError,
)
from lowproxy.server.exchange import Exchange
from lowproxy.transport.dispatch import Attempt


def test_ids_are_unguessable_and_never_repeat():
    """96 bits each, behind the second in which they were drawn: those of a moment stand together in an index."""
    began = int(time.time())
    ids = [Exchange.begin("POST").generation_id for _ in range(1000)]
    assert len({each[12:] for each in ids}) == 1000
    drawn = [int(each[4:12], 16) for each in ids]
    assert drawn == sorted(drawn)
    assert began <= drawn[-1] <= time.time()
    assert all(re.fullmatch(r"gen_[A-Za-z0-9_-]{24}", each) for each in ids)


def test_the_id_is_for_posts():
    """Other methods have nothing to look up later."""
    assert Exchange.begin("GET").answer_fields() == ""
    exchange = Exchange.begin("POST")
    text = f"X-LowRouter-Generation-ID: {exchange.generation_id}\r\n"
    assert exchange.answer_fields() == text


def test_whose_fault_a_failure_is():
    """The side of the failure's class is the status of the record."""
    refused = UpstreamRefusedError(422, {"error": {"message": "m"}})
    for failure, status in [
        (BadRequestError("x"), "client_error"),
        (UpstreamCutError("x"), "upstream_error"),
        (refused, "client_error"),
        (NothingEligibleError("x"), "gateway_error"),
        (LowproxyError("x"), "gateway_error"),
    ]:
        exchange = Exchange.begin("POST")
        exchange.failed(failure, failure.status)
        record = exchange.record()
        assert record.status == status
        assert record.error == failure.code
        assert record.http_status == failure.status


def test_a_status_that_was_sent_stays():
    """A stream that fails later was still answered with 200."""
    exchange = Exchange.begin("POST")
    exchange.http_status = 200
    exchange.failed(UpstreamCutError("x"), 502)
    assert exchange.record().http_status == 200


def test_the_record_of_an_empty_notebook():
    """What is not known is None, never a guess."""
    exchange = Exchange.begin("GET")
    exchange.end()
    record = exchange.record()
    assert record.status == "ok"
    assert record.endpoint == "unknown"
    for name in ("key_id", "provider", "region", "resolved_model", "usage", "impact"):
        assert getattr(record, name) is None
    assert record.latency_ms is None
    assert record.duration_ms >= 0
    assert record.completed_at >= record.created_at


def test_the_record_has_attempts_and_usage():
    """Candidates and outcomes in order."""
    exchange = Exchange.begin("POST")
    exchange.attempts += [Attempt("a/m", "upstream_cut", 0.1), Attempt("b/m", "ok", 1)]
    exchange.usage = Usage(1, 2)
    record = exchange.record()
    assert record.attempts == (("a/m", "upstream_cut"), ("b/m", "ok"))
    assert record.usage == Usage(1, 2)
