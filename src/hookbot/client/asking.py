"""Questions to a hub's own paths, ``/hookbot/v1/...``, which are answered with JSON."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from ..errors import Lost
from ..protocol.response import error_of
from .address import Address
from .connect import reason_of
from .publisher import open_client


async def ask(
    address: Address, method: str = "GET", *, query: Mapping[str, str] = {}, ca_file: str | Path | None = None
) -> Any:
    """What the hub answers. Raises `Lost`, or why the hub refused."""
    headers = dict(address.authorization_header())
    try:
        async with open_client(address, ca_file) as client:
            answer = await client.request(method, str(address), params=dict(query), headers=headers)
            if answer.is_success:
                return answer.json()
    except httpx.TransportError as error:
        raise Lost(f"no answer from {address}: {reason_of(error)}") from None
    except ValueError:
        raise Lost(f"what answers at {address} is not a hub") from None
    raise error_of(answer.status_code, {name.lower(): value for name, value in answer.headers.items()}, answer.content)
