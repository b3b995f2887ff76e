"""The sections of retention in a configuration file."""

from pathlib import Path

import pytest

from hookbot.cli.retention_sections import MAX_BUDGETS, read_budgets
from hookbot.errors import ConfigError
from hookbot.hub.config_file import ConfigFile
from hookbot.log.retention import Budget, Retention

REST = Retention(max_age_s=7.0, max_bytes=1000, max_count=5, max_unsafe_bytes=100)


def read(tmp_path: Path, text: str) -> tuple[Budget, ...]:
    path = tmp_path / "hookbot.toml"
    path.write_text(text)
    return read_budgets(ConfigFile.read(path), REST)


def test_a_section_is_a_budget(tmp_path: Path) -> None:
    text = '[retention."logs/"]\nkeep = "1d"\nkeep-count = 1000\nkeep_bytes = "100MB"\n'

    assert read(tmp_path, text) == (Budget("logs/", 86400.0, 100 << 20, 1000),)


def test_what_a_section_does_not_name_it_has_from_the_options(tmp_path: Path) -> None:
    text = '[retention.logs]\n[retention."/unsafe/github.com/"]\nkeep = "1s"\n'

    assert read(tmp_path, text) == (Budget("logs", 7.0, 1000, 5), Budget("/unsafe/github.com/", 1.0, 100, 5))


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ('[retention."logs/"]\nkeep = "30 days"', "2: not a duration such as 90s, 10m, 2h or 7d: '30 days'"),
        ('[retention."logs/"]\nkeep = 7', "2: keep must be a string, not an integer"),
        ('[retention."logs/"]\n\nkeep-count = 0', "3: 0 is not in the range x>=1."),
        ('[retention."logs/"]\nkeep-byte = "1KB"', "2: a section of retention has no option 'keep-byte', did you mean"),
        (
            '[retention."/logs/"]',
            "1: topic must be 'logs/' (for senders without a token: '/unsafe/logs/'), not '/logs/'",
        ),
        ('[retention."a//b"]', "1: invalid topic 'a//b'"),
        ('[retention.""]', "1: '' is no section: --keep and the options beside it are for the rest of the topics"),
        ('[retention."/unsafe/"]', "1: '/unsafe/' is no section"),
        ('[retention."/unsafe"]', "1: '/unsafe' is no section"),
        ('[retention."/"]', "1: '/' is no section"),
        ('[retention]\nkeep = "1d"', '1: what is kept of some topics is written as a section [retention."TOPIC/"]'),
        ("".join(f"[retention.t{n}]\n" for n in range(MAX_BUDGETS + 1)), f"1: at most {MAX_BUDGETS} sections of"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str, mistake: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)

    assert str(caught.value).startswith(f"{tmp_path}/hookbot.toml:{mistake}")


def test_all_mistakes_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, '[retention."a/"]\nkeep = "x"\nkeep-bytes = "1"\n[retention."b//"]\n')

    assert len(str(caught.value).splitlines()) == 3
