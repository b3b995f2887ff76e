"""What all connections of a hub have to agree on: which log it is, and that its server is not an old primary."""

import logging
from typing import TYPE_CHECKING, Any

from .postgres_address import PostgresAddress
from .postgres_schema import Timeline, check_identity, open_schema
from .postgres_server import Server, require_privileges

if TYPE_CHECKING:
    from psycopg import Connection

logger = logging.getLogger(__package__)


class LogIdentity:
    """Epoch of the log, and newest timeline on which its server was seen; both are known after the first connection."""

    def __init__(self, address: PostgresAddress) -> None:
        self.address = address
        self.epoch = ""
        self.timeline: Timeline = 0
        self.checks = 0
        """Number of connections that were checked: before each, there may have been a failover."""

    def check(self, connection: "Connection[Any]") -> None:
        """Open the log on the first connection, and check each later one. Raises `Unavailable` or `ConfigError`."""
        schema, key = self.address.schema, self.address.lock_key
        if not self.epoch:
            server = Server.read(connection)
            server.require()
            require_privileges(connection, self.address)
            self.epoch = open_schema(connection, schema, key).epoch
            logger.info("the log in %s is kept by %s", self.address, server)
            for warning in server.warnings():
                logger.warning("%s", warning)
        self.timeline = max(self.timeline, check_identity(connection, key, self.epoch, self.timeline))
        self.checks += 1
