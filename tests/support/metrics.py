"""What a hub shows at ``/metrics``, as Prometheus reads it."""

import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import trustme
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from hookbot.access.tokens import make_token
from support import KEY
from support.api import GITHUB
from support.hubs import WholeHub, open_whole_hub


class Shown(Mapping[str, float]):
    """The samples of one scrape, by name and labels as in ``hookbot_refused_total{status="401"}``."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families = {family.name: family.type for family in text_string_to_metric_families(text)}
        self.samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        self._values = {_name(sample): sample.value for sample in self.samples}

    def __getitem__(self, name: str) -> float:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def all(self, name: str) -> list[float]:
        """Values of all samples of a name, whatever their labels."""
        return [sample.value for sample in self.samples if sample.name == name]


async def scrape(http: httpx.AsyncClient) -> Shown:
    """What a hub shows now to somebody who may see it."""
    answer = await http.get("/metrics", headers={"Authorization": f"Bearer {make_token(KEY, '/metrics')}"})
    assert answer.status_code == 200
    return Shown(answer.text)


@asynccontextmanager
async def watched_hub(tmp_path: Path) -> AsyncIterator[WholeHub]:
    """A hub that has everything of which there are metrics: a router, a source, a certificate, a log on disk."""
    authority, files = trustme.CA(), {"tls_certificate": tmp_path / "hub.pem", "tls_key": tmp_path / "hub.pem"}
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "hub.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    options: dict[str, Any] = {"store": "sqlite:", "routers": ("github",), "github_secrets": (GITHUB,), **files}
    async with open_whole_hub(tmp_path, client={"verify": context}, **options) as hub:
        yield hub


def _name(sample: Sample) -> str:
    labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
    return f"{sample.name}{{{labels}}}" if labels else sample.name
