"""The sections of a configuration: which sources and routers they are together, and what is wrong with them."""

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from hookbot.access.ip_ranges import RangeList, write_ranges
from hookbot.access.sources import Source
from hookbot.errors import ConfigError
from hookbot.hub.config import RANGES_FILE, Config
from hookbot.hub.config_file import ConfigFile
from hookbot.hub.secret_store import StoredSecret
from hookbot.hub.sections import needs_github_secret, read_alerts, read_quotas, read_routers, read_sources, unless_wrong
from hookbot.log.retention import Retention

SECRET = "the secret of the tests, not too short"
SECTION = {"topic": "/unsafe/acme/", "provider": "github", "secrets": [SECRET]}
RANGES = {"github": [ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")]}


def configured(text: str, tmp_path: Path, **options: Any) -> Config:
    path = tmp_path / "hookbot.toml"
    path.write_text(text)
    return Config(key=StoredSecret("key"), data_dir=tmp_path, file=ConfigFile.read(path), **options)


SOURCE = f'[[sources]]\ntopic = "/unsafe/acme/"\nprovider = "stripe"\nsecrets = ["{SECRET}"]\n'


def sources(text: str, tmp_path: Path, **options: Any) -> list[Source]:
    return unless_wrong(read_sources(configured(text, tmp_path, **options)))


def told(text: str, tmp_path: Path, **options: Any) -> list[str]:
    """Mistakes in the sources, without the path of the file."""
    with pytest.raises(ConfigError) as caught:
        sources(text, tmp_path, **options)
    return [line.replace(str(tmp_path), "").removeprefix("/hookbot.toml") for line in str(caught.value).splitlines()]


def test_sources_are_read_in_their_order(tmp_path: Path) -> None:
    found = sources(SOURCE + SOURCE.replace("acme", "other"), tmp_path)
    assert [source.topic for source in found] == ["/unsafe/acme/", "/unsafe/other/"]


def test_every_mistake_in_every_section_is_told_with_its_line(tmp_path: Path) -> None:
    wrong = SOURCE.replace('"stripe"', '"githup"') + "url = 5\n" + SOURCE.replace("acme/", "a//b")
    assert [line.split(" ")[0] for line in told(wrong, tmp_path)] == [":3:", ":5:", ":7:"]


def test_two_sources_of_one_topic_are_refused(tmp_path: Path) -> None:
    assert told(SOURCE + SOURCE, tmp_path) == [":6: an earlier source has the topic '/unsafe/acme/': merge the two"]


def test_certificates_need_an_authority(tmp_path: Path) -> None:
    text = SOURCE + 'certificates = ["CN=robot"]\n'
    [line] = told(text, tmp_path)
    assert line.startswith(":5: the hub only asks for client certificates")
    [source] = sources(text, tmp_path, tls_client_authorities=tmp_path / "authorities.pem")
    assert source.certificates == ["CN=robot"]


def test_a_signature_must_not_be_good_for_longer_than_repeats_are_recognised(tmp_path: Path) -> None:
    text = SOURCE + "max_age = 120\n"
    assert sources(text, tmp_path, retention=Retention(dedup_s=240))
    [line] = told(text, tmp_path, retention=Retention(dedup_s=239))
    assert line.startswith(":5: with this max_age a signature is valid for 240 seconds")


def test_networks_of_published_lists_are_known_by_name(tmp_path: Path) -> None:
    text = SOURCE + 'allow_from = ["github"]\n'
    assert len(told(text, tmp_path)) == 1
    write_ranges(tmp_path / RANGES_FILE, {"github": RangeList("", "", ("192.0.2.0/24",))})
    [source] = sources(text, tmp_path)
    assert source.allow_from == (ip_network("192.0.2.0/24"),)


def test_a_damaged_file_of_networks_is_told(tmp_path: Path) -> None:
    (tmp_path / RANGES_FILE).write_text("{")
    [line] = told(SOURCE, tmp_path)
    assert "update-ranges" in line


def test_a_github_router_makes_its_topic_take_signed_deliveries_only(tmp_path: Path) -> None:
    text = f'[routers.github]\nsecrets = ["{SECRET}"]\n[routers.mine]\nrouter = "github"\nhost = "git.example"\n'
    found = sources(text, tmp_path, routers=("github", "mine", "unknown"), github_secrets=(StoredSecret("of the hub"),))
    assert {source.topic: source.secrets for source in found} == {
        "/unsafe/github.com/": [SECRET],
        "/unsafe/git.example/": ["of the hub"],
    }


def test_a_github_router_without_any_secret_has_no_source(tmp_path: Path) -> None:
    assert sources("", tmp_path, routers=("github",)) == []


def test_a_secret_of_a_github_router_that_is_not_there_is_told(tmp_path: Path) -> None:
    text = '[routers.github]\nsecrets = ["env:NOBODY_SET_THIS"]\n'
    [line] = told(text, tmp_path, routers=("github",))
    assert line.startswith(":2: the environment variable NOBODY_SET_THIS is not set")


@pytest.mark.parametrize(
    ("secrets", "reason"),
    [
        ('"env:SECRET"', "secrets must be a list, not a string"),
        ("5", "secrets must be a list, not an integer"),
        ("true", "secrets must be a list, not true or false"),
        ("[5]", "the items of the list must be strings"),
        ("[]", "a source needs at least one secret"),
        ('["one", ""]', "a secret of github must be a key for HMAC-SHA256: the secret is empty"),
    ],
)
def test_secrets_of_a_github_router_that_are_not_a_list_of_strings_are_told(
    tmp_path: Path, secrets: str, reason: str
) -> None:
    [line] = told(f"[routers.github]\nsecrets = {secrets}\n", tmp_path, routers=("github",))
    assert line.startswith(f":2: {reason}")


@pytest.mark.parametrize(
    ("text", "needed"),
    [("", True), ('[routers.github]\nsecrets = ["x"]', False), ('[routers.github]\nhost = "git.example"', True)],
)
def test_a_github_router_without_secrets_of_its_own_needs_one_of_the_hub(
    tmp_path: Path, text: str, needed: bool
) -> None:
    config = configured(text, tmp_path, routers=("github",))
    assert needs_github_secret(config.routers, config.file.routers) is needed
    assert not needs_github_secret((), config.file.routers)


def test_a_github_router_gets_the_secrets_of_the_hub_unless_it_has_its_own(tmp_path: Path) -> None:
    config = configured("", tmp_path, routers=("github",), github_secrets=(StoredSecret("of the hub"),))
    [spec] = unless_wrong(read_routers(config))
    assert spec.name == "github"

    [spec] = unless_wrong(read_routers(configured("", tmp_path, routers=("github",))))
    assert spec.name == "github"


def test_what_is_wrong_with_a_router_is_told_with_the_line_of_its_section(tmp_path: Path) -> None:
    config = configured('[routers.github]\ntime_limit = "long"\n', tmp_path, routers=("github", "no name"))
    with pytest.raises(ConfigError) as caught:
        unless_wrong(read_routers(config))
    first, second = str(caught.value).splitlines()
    assert "hookbot.toml:1: " in first
    assert "'no name'" in second


def test_quotas_are_read_and_each_mistake_is_told_with_its_line(tmp_path: Path) -> None:
    text = '[quotas."team/"]\ncursors = 1\n[quotas."/unsafe/"]\npublishes = "1/s"\n'
    assert [quota.prefix for quota in unless_wrong(read_quotas(configured(text, tmp_path)))] == ["team/", "/unsafe/"]

    wrong = '[quotas."a//"]\ncursors = 1\n[quotas."team/"]\ncursors = 0\npublish = "1/s"\n[quotas.x]\n'
    mistakes = [str(one).partition("hookbot.toml")[2] for one in read_quotas(configured(wrong, tmp_path))]
    assert [line.split(" ")[0] for line in mistakes] == [":1:", ":4:", ":5:", ":6:"]


def test_alerts_are_read_and_each_mistake_is_told_with_its_line(tmp_path: Path) -> None:
    def alert(name: str) -> str:
        return f'[[alerts]]\nrouter = "{name}"\nbehind = 1\n'

    read = unless_wrong(read_alerts(configured(alert("a") + alert("b"), tmp_path)))
    assert [rule.subject.name for rule in read] == ["a", "b"]

    wrong = f'{alert("a")}{alert("a")}[[alerts]]\ngroup = "g"\nbehind = 0\n'
    mistakes = [str(one).partition("hookbot.toml")[2] for one in read_alerts(configured(wrong, tmp_path))]
    assert mistakes[1:] == [
        ":5: an earlier alert is about the router a: merge the two",
        ":7: the key 'path' is missing",
        ":9: must be at least 1, not 0",
    ]

    many = "".join(alert(f"r{number}") for number in range(101))
    with pytest.raises(ConfigError, match=r"hookbot.toml:1: at most 100 alerts, not 101"):
        unless_wrong(read_alerts(configured(many, tmp_path)))
