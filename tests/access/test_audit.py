"""The audit log."""

import pytest

from hookbot.access.audit import audit
from hookbot.hub.logging_setup import fields_of


def test_an_act_is_logged_with_who_has_done_what(caplog: pytest.LogCaptureFixture) -> None:
    audit("a cursor was moved", by="ann", client="192.0.2.1", path="/sub/a", cursor="c", position=None)

    [record] = caplog.records
    assert (record.name, record.getMessage()) == ("hookbot.audit", "a cursor was moved")
    assert fields_of(record) == {"by": "ann", "client": "192.0.2.1", "path": "/sub/a", "cursor": "c"}
