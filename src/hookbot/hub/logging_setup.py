"""Logging of the process: records on standard error, as text or as JSON."""

import json
import logging
from datetime import UTC, datetime
from typing import Literal


class TextFormatter(logging.Formatter):
    """Formatter for lines of text. Further lines of a record are indented, so that no client can forge a record."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\n", "\n    ")


class JsonFormatter(logging.Formatter):
    """Formatter for lines of JSON, one object for each record."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def set_up_logging(form: Literal["text", "json"], level: str) -> None:
    """Log to standard error in this format: hookbot's records from `level` on, those of libraries from WARNING on."""
    handler = logging.StreamHandler()
    if form == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(TextFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("hookbot").setLevel(level.upper())
