import json
import logging

from hookbot.logs import JsonFormatter, TextFormatter


def record(message, error=None):
    exc_info = (type(error), error, None) if error else None
    return logging.LogRecord("hookbot.x", logging.ERROR, __file__, 1, message, (), exc_info)


def test_what_a_stranger_sent_cannot_look_like_a_line_of_its_own():
    text = TextFormatter("%(levelname)s %(message)s").format(record("bad", ValueError("x\nERROR forged")))
    assert not any(line.startswith("ERROR forged") for line in text.splitlines())
    assert "    ERROR forged" in text


def test_a_record_is_one_line_of_json():
    [line] = JsonFormatter().format(record("bad\nthing", ValueError("x\ny"))).splitlines()
    fields = json.loads(line)
    assert (fields["level"], fields["logger"], fields["message"]) == ("error", "hookbot.x", "bad\nthing")
    assert fields["exception"].endswith("ValueError: x\ny")
