"""docs/metrics.md, and the alerts and the dashboard in deploy/: all that they ask of a hub is there."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.metrics import Shown, scrape, watched_hub
from support.pages import blocks, page

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PAGE = page("docs/metrics.md")
ALERTS = (DEPLOY / "alerts.yaml").read_text()
ALERTS_TEST = (DEPLOY / "alerts_test.yaml").read_text()
DASHBOARD = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
# What Prometheus adds itself.
ADDED = {"up", "job", "instance", "le"}

needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="needs promtool, of Debian's package prometheus"
)


def promtool(*args: str, text: str = "") -> None:
    ran = subprocess.run(["promtool", *args], input=text, capture_output=True, text=True, cwd=DEPLOY, check=False)
    # Of metrics, it only warns.
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout + ran.stderr


def texts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """All strings in JSON, with the name of their field."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from texts(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner, name)
    elif isinstance(value, str):
        yield name, value


EXPRESSIONS = [
    *re.findall(r"(?m)^ +expr: (.*)$", ALERTS),
    *(text for name, text in texts(DASHBOARD) if name in ("expr", "query")),
]


def missing(expression: str, shown: Shown, labels: dict[str, set[str]]) -> set[str]:
    """Names in an expression of PromQL that a hub does not show."""
    names = set(re.findall(r"\b(?:hookbot|process)_\w+", expression))
    families = {f"{name}_total" if kind == "counter" else name for name, kind in shown.families.items()}
    families |= {f"{name}{end}" for name, kind in shown.families.items() if kind == "histogram" for end in PARTS}
    known = set().union(ADDED, *(labels.get(re.sub(f"({'|'.join(PARTS)})$", "", name), ()) for name in names))
    matched = {name for braces in re.findall(r"\{(.*?)\}", expression) for name in re.findall(r"(\w+)\s*[=!]", braces)}
    grouped = {name.strip() for names in re.findall(r"\bby \((.*?)\)", expression) for name in names.split(",")}
    return (names - families) | ((matched | grouped) - known)


PARTS = ("_bucket", "_sum", "_count")


async def test_every_metric_and_label_of_the_alerts_and_the_dashboard_is_one_of_a_hub(tmp_path: Path) -> None:
    async with watched_hub(tmp_path) as hub:
        shown = await scrape(hub.http)

    labels = {name: set(text.split(",")) for name, text in re.findall(r"`(\w+)\{([a-z,]+)\}`", PAGE)}
    assert len(EXPRESSIONS) > 60
    wrong = {text: lacking for text in EXPRESSIONS if (lacking := missing(text, shown, labels))}
    assert wrong == {}


@pytest.mark.parametrize(
    ("expression", "lacking"),
    [
        ("hookbot_head > 1", set()),
        ("hookbot_heads > 1", {"hookbot_heads"}),
        ("rate(hookbot_published[5m])", {"hookbot_published"}),
        ('hookbot_refused_total{status=~"5.."}', set()),
        ('hookbot_refused_total{code="500"}', {"code"}),
        ("sum by (instance, le, topic) (hookbot_store_duration_seconds_bucket)", {"topic"}),
    ],
)
def test_what_a_hub_does_not_show_is_found(expression: str, lacking: set[str]) -> None:
    shown = Shown(
        "# TYPE hookbot_head gauge\nhookbot_head 1\n"
        "# TYPE hookbot_published_total counter\nhookbot_published_total 1\n"
        '# TYPE hookbot_refused_total counter\nhookbot_refused_total{status="401"} 1\n'
        "# TYPE hookbot_store_duration_seconds histogram\n"
    )

    assert missing(expression, shown, {"hookbot_refused_total": {"status"}}) == lacking


def test_every_alert_is_tested() -> None:
    alerts = re.findall(r"alert: (\w+)", ALERTS)

    assert sorted(re.findall(r'alertname="(\w+)"', ALERTS_TEST)) == sorted(alerts)
    assert len(re.findall("summary: .", ALERTS)) == len(re.findall("description: .", ALERTS)) == len(alerts)


def test_the_panels_of_the_dashboard_stand_beside_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        taken |= cells
    assert max(x for x, _ in taken) == 23
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


@needs_promtool
def test_the_alerts_are_valid_and_fire_for_what_they_are_about() -> None:
    promtool("check", "rules", "alerts.yaml")
    promtool("test", "rules", "alerts_test.yaml")


@needs_promtool
def test_the_configuration_on_the_page_is_valid(tmp_path: Path) -> None:
    [config] = blocks(PAGE, "yaml")
    (tmp_path / "prometheus.yml").write_text(config)
    (tmp_path / "hookbot.token").touch()
    shutil.copy(DEPLOY / "alerts.yaml", tmp_path)

    promtool("check", "config", str(tmp_path / "prometheus.yml"))


@needs_promtool
async def test_what_a_hub_shows_is_as_prometheus_wants_it(tmp_path: Path) -> None:
    async with watched_hub(tmp_path) as hub:
        await hub.post("/pub/a")
        shown = await scrape(hub.http)

    promtool("check", "metrics", text=shown.text)
