"""For the tests of those who write routers. Stable, like `hookbot.routers`.

`route` and `routed` (routing) run a router without a hub, `open_test_hub` (hub) runs it in one, and `signed_delivery`
(deliveries) makes what senders send.
"""

import json
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, time
from typing import Any, NamedTuple
from urllib.parse import quote
import trio
from ..access.tokens import make_token
from ..broker.broker import Broker, Start
from ..broker.channels import Entry
from ..hub.config import Config
from ..hub.config_file import ConfigFile
from ..hub.hub import RunningHub, open_hub
from ..hub.secret_store import StoredSecret
from ..protocol.message import Draft, Headers, Message, Verified
from ..protocol.topics import TopicFilter
from ..routers import Router
from ..routers.loading import check, entered
from ..routers.outbox import DraftCollector
from ..routers.watchdog import BLOCKED_S
from ..signatures import SignedRequest, load_provider
from .deliveries import Delivery, signed_delivery
from .hub import KEY as KEY
from .hub import TestHub, open_test_hub
from .routing import make_message, route, routed

__all__ = ["Delivery", "TestHub", "make_message", "open_test_hub", "route", "routed", "signed_delivery"]
