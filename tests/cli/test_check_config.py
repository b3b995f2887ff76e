"""``hookbot check-config``: every mistake is reported with its line and reason."""

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from hookbot.access.ip_ranges import RangeList, write_ranges
from hookbot.access.rate_limits import Rate
from hookbot.cli.check_config import check_config
from hookbot.cli.configure import find_config
from hookbot.cli.main import cli
from hookbot.cli.serve import serve
from support import GUARD_S

pytestmark = pytest.mark.usefixtures("directory")

SOURCE = '[[sources]]\ntopic = "/unsafe/x/"\nprovider = "stripe"\nsecrets = ["whsec"]\n'
TOPIC_WRONG = SOURCE.replace('x/"', 'x/" # wrong')


def write(text: str, name: str = "hookbot.toml") -> str:
    Path(name).write_text(text)
    return name


def check(text: str) -> tuple[int, list[tuple[int, str]]]:
    """The exit code, and the mistakes as pairs of line and reason."""
    result = CliRunner().invoke(check_config, [write(text)])
    lines = result.stderr.splitlines()
    told = [match for line in lines if (match := re.fullmatch(r"hookbot\.toml:([0-9]+): (.*)", line))]
    assert len(told) == len(lines), result.output
    return result.exit_code, [(int(match[1]), match[2]) for match in told]


def problem(text: str) -> str:
    """Reason for the only line that is wrong."""
    code, [(number, reason)] = check(text)
    assert code == 2
    assert "wrong" in text.splitlines()[number - 1], (number, reason)
    return reason


def test_a_file_in_which_nothing_is_wrong() -> None:
    result = CliRunner().invoke(check_config, [write('keep = "1d"\nrouter = ["github"]\n')])
    assert (result.exit_code, result.output) == (0, "hookbot.toml: no mistakes found\n")


def test_a_byte_order_mark_is_ignored_and_told() -> None:
    result = CliRunner().invoke(check_config, [write('\ufeffkeep = "1d"\n')])
    assert result.exit_code == 0
    assert result.output.splitlines()[0].startswith("hookbot.toml: the byte order mark at its beginning is ignored")


def test_it_is_told_to_whom_the_secrets_of_a_source_are_bound() -> None:
    sections = [
        ("github", "/unsafe/github.com/org/acme", ""),
        ("github", "/unsafe/github.com/x", ""),
        ("stripe", "/unsafe/stripe/", 'owners = ["acct_1", "acct_2"]\n'),
        ("slack", "/unsafe/slack", ""),
    ]
    text = "".join(
        f'[[sources]]\ntopic = "{topic}"\nprovider = "{provider}"\nsecrets = ["one of the tests"]\n{owners}'
        for provider, topic, owners in sections
    )
    result = CliRunner().invoke(check_config, [write(text)])
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "hookbot.toml: the source /unsafe/github.com/org/acme is bound to acme: what names another owner is refused",
        "hookbot.toml: the source /unsafe/github.com/x is bound to no owner: whoever has its secret can speak for any",
        "hookbot.toml: the source /unsafe/stripe/ is bound to acct_1, acct_2: what names another owner is refused",
        "hookbot.toml: no mistakes found",
    ]


def test_nothing_is_made_by_checking(tmp_path: Path) -> None:
    check('router = ["github"]')
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("bnd = 5 # wrong", "there is no option 'bnd'; did you mean 'bind'?"),
        ("config = 'x' # wrong", "there is no option 'config'"),
        ("help = true # wrong", "there is no option 'help'"),
        ("colour = 5 # wrong", "there is no option 'colour'"),
        ("keep_byte = 5 # wrong", "there is no option 'keep_byte'; did you mean 'keep-bytes'?"),
        ("KEEP = '7d' # wrong", "there is no option 'KEEP'; did you mean 'keep'?"),
        ("HOOKBOT_KEEP = '7d' # wrong", "there is no option 'HOOKBOT_KEEP'; did you mean 'keep'?"),
        ("key = 'secret' # wrong", "there is no option 'key'; the variable HOOKBOT_KEY has it"),
        ("old_keys = 'secret' # wrong", "there is no option 'old_keys'; the variable HOOKBOT_OLD_KEYS has it"),
        ("[source] # wrong\ntopic = 'x'", "there is no section 'source'; did you mean [[sources]]?"),
        ("[[Sources]] # wrong\ntopic = 'x'", "there is no section 'Sources'; did you mean [[sources]]?"),
        ("[router.github] # wrong", "there is no section 'router'; did you mean [routers.NAME]?"),
        ("[budgets.x] # wrong", "there is no section 'budgets'; did you mean [retention.\"TOPIC/\"]?"),
        ("[quota.x] # wrong", "there is no section 'quota'; did you mean [quotas.\"TOPIC/\"]?"),
        ("[[alert]] # wrong", "there is no section 'alert'; did you mean [[alerts]]?"),
        ("[[alerts]] # wrong\nbehind = 1", "an alert is about one of cursor, group, router"),
        ('[[alerts]]\nrouter = "github" # wrong\nbehind = 1', "the hub runs no router 'github'"),
        ("[quotas] # wrong\ncursors = 1", 'the quota of topics is written as a section [quotas."TOPIC/"]'),
        ('[quotas."/team/"] # wrong\ncursors = 1', "topic must be 'team/'"),
        ("[quotas.'team/'] # wrong", "it limits nothing: set one of publishes, bytes, subscribers, cursors"),
        ('[quotas."team/"]\ncursor = 1 # wrong', "a quota has no limit 'cursor', did you mean 'cursors'?"),
        ('unsafe = ["a"]\n[quotas."/unsafe/b/"] # wrong\ncursors = 1', "this hub has no such unsafe topic as"),
        ("[serve] # wrong\nkeep = '7d'", "there is no section 'serve'; options stand at the beginning of the file"),
        ("keep = {days = 7} # wrong", "there is no section 'keep'"),
        ("bind = 8080 # wrong", "bind must be a string or a list of strings, not an integer"),
        (
            "bind = 'hub' # wrong",
            "bind: an address to listen on must be like :8080 (every address), 127.0.0.1:8080, [::1]:8080 or unix:/run",
        ),
        ("bind = 'https://:8443' # wrong", "bind: 'https://:8443' needs a certificate: sslcrt and sslkey"),
        ("keep = 'long' # wrong", "keep: not a duration such as 90s, 10m, 2h or 7d: 'long'"),
        ("keep = 7 # wrong", "keep: a duration has a unit, as in 90s, 10m, 2h or 7d, and '7' has none"),
        ("keep = '7' # wrong", "keep: a duration has a unit, as in 90s, 10m, 2h or 7d, and '7' has none"),
        ("max-body = 25 # wrong", "max-body: a size has a unit, as in 512B, 25MiB or 1GiB, and '25' has none"),
        ("keep = true # wrong", "keep must be a string, not true or false"),
        ("keep-bytes = 'much' # wrong", "keep-bytes: not a size such as 25MiB or 1GiB: 'much'"),
        ("keep-count = '5' # wrong", "keep-count must be an integer, not a string"),
        ("keep-count = true # wrong", "keep-count must be an integer, not true or false"),
        ("keep-count = 0 # wrong", "keep-count: 0 is not in the range x>=1."),
        ("no-door = 'yes' # wrong", "no-door must be true or false, not a string"),
        ("no-door = 1 # wrong", "no-door must be true or false, not an integer"),
        ("router = 5 # wrong", "router must be a string or a list of strings, not an integer"),
        ("router = [5] # wrong", "router must be a string or a list of strings, not a list"),
        ("log-level = 'loud' # wrong", "log-level: 'loud' is not one of 'debug', 'info', 'warning', 'error'."),
        ("failure-rate = '5/d' # wrong", "failure-rate: a rate must be like 100/s, 60/m or 1000/h, not '5/d'"),
        ("trust-proxy = 'all' # wrong", "trust-proxy: trusted proxies must be a number or networks"),
        ("sslcrt = 'nowhere' # wrong", "sslcrt: File 'nowhere' does not exist."),
        ('sslcrt = "a\\u0000" # wrong', "sslcrt: embedded null byte"),
        ('data-dir = "a\\u0000" # wrong', "data-dir: embedded null byte"),
        ("bind = '256.1.1.1:80' # wrong", "bind: an address to listen on must be like"),
        ("bind = # wrong", "Invalid value"),
        ("keep = “7d” # wrong", "Invalid value; quotation marks are \" or '"),
        (
            "store = 'mysql://user:password@db/hooks' # wrong",
            "store: the store must be 'sqlite:', 'memory:' or 'postgresql://HOST/DATABASE'; this version of hookbot",
        ),
        ("keep-bytes = '5MiB'\nkeep_bytes = '6MiB' # wrong", "keep_bytes is set twice: also as keep-bytes"),
        ("cors-origin = ['pages.example.com'] # wrong", "cors-origin: an origin is like https://pages.example.com"),
        ("cors-origin = ['https://pages.example.com/'] # wrong", "cors-origin: an origin is like https"),
        ("cors-origin = ['*'] # wrong", "cors-origin: an origin is like https"),
        ("store = 'memory' # wrong", "store: the store must be 'sqlite:', 'memory:' or"),
        ("store = 'sqlite:/var/lib/log.db' # wrong", "store: the store 'sqlite:' takes no path"),
        ("unsafe = ['a//b'] # wrong", "unsafe: invalid topic"),
        ("unsafe = ['all'] # wrong", "unsafe: 'all' is not an unsafe topic; all of them are allowed"),
        ("unsafe = ['*'] # wrong", "unsafe: '*' is not an unsafe topic"),
        ("[routers.deploys] # wrong\n", "[routers.deploys]: the hub runs no router of this name; add it to the list"),
        ("[routers.githup] # wrong\n", "[routers.githup]: the hub runs no router of this name; did you mean 'github'?"),
        ("unsafe = ['stripe'] # wrong", "unsafe: a GitHub router reads '/unsafe/github.com/', which this hub does not"),
        ("no-sha1 = true\nplain-tokens = 'live' # wrong", "plain-tokens: it has no effect with no-sha1"),
        (
            "max-subscribers = 5\nmax-subscribers-per-token = 6 # wrong",
            "max-subscribers-per-token: 6 has no effect with 5",
        ),
        ("[routers.github]\nsecrets = [] # wrong", "a source needs at least one secret"),
        ("[routers.github]\nsecrets = 'x' # wrong", "secrets must be a list, not a string"),
        (
            "[routers.wanted] # wrong\nrouter = 'filter'\nreads = ['unsafe/x/']\ntopic = 'y'",
            "[routers.wanted] reads 'unsafe/x/', which is not the topic of anything: is '/unsafe/x/' meant?",
        ),
        ("[[source]] # wrong\ntopic = 'x'", "there is no section 'source'; did you mean [[sources]]?"),
        (
            "[routers.github] # wrong\nhost = 5\n",
            "[routers.github]: the option 'host' must be a string, not 5",
        ),
    ],
)
def test_what_is_wrong_is_told_with_line_and_reason(text: str, reason: str) -> None:
    if "[routers" in text or "GitHub" in reason:
        names = ["github", *(["wanted"] if "wanted" in text else [])]
        text = f"router = {names}\n{text}"
    assert problem(text).startswith(reason)


def test_an_unsafe_topic_that_a_router_reads_has_to_exist() -> None:
    text = "unsafe = ['y']\nrouter = ['wanted']\n[routers.wanted] # wrong\nrouter = 'filter'\nreads = ['/unsafe/x/']\n"
    reason = "[routers.wanted] reads '/unsafe/x/', which is none of the unsafe topics of this hub"
    assert problem(f"{text}topic = 'z'") == reason


@pytest.mark.parametrize("prefix", ["x", "/x/", "unsafe/x/", "/unsafe/pub/x/", "https://hub.example.com/unsafe/pub/x/"])
def test_what_can_only_mean_one_unsafe_topic_means_it(prefix: str) -> None:
    assert check(f"unsafe = ['{prefix}']\n{SOURCE}") == (0, [])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (SOURCE + "colour = 5 # wrong", "a source with the provider stripe has no option 'colour'"),
        ("unsafe = ['none']\n" + TOPIC_WRONG, "this hub has no such unsafe topic as '/unsafe/x/': those that"),
        ("unsafe = ['y']\n" + TOPIC_WRONG, "this hub has no such unsafe topic as '/unsafe/x/': those that exist"),
        ("max-body = '1KiB'\n" + SOURCE + "max_body_bytes = 1025 # wrong", "1025 is more than the 1024 bytes"),
        (SOURCE + "confirm = true # wrong", "there is nothing to confirm with the provider stripe, only with aws-sns"),
        (SOURCE + "url = 'https://h' # wrong", "the provider stripe does not sign the URL, so that url has no effect"),
        (
            SOURCE.replace("stripe", "meta").replace("]]", "]] # wrong"),
            "without the option verify_token, Meta cannot verify this address",
        ),
        (SOURCE + "maxage = 5 # wrong", "a source with the provider stripe has no option 'maxage', did you mean 'max"),
        (SOURCE + "allow_from = ['github'] # wrong", "'github' does not appear to be"),
        (SOURCE + "certificates = ['CN=x'] # wrong", "the hub only asks for client certificates with --sslca"),
        (SOURCE + "max_age = 86400 # wrong", "with this max_age a signature is valid for 172800 seconds"),
        (
            "dedup-window = '9m'\n" + SOURCE.replace("[[sources]]", "[[sources]] # wrong"),
            "with this max_age a signature is valid for 600",
        ),
        (SOURCE + SOURCE.replace("x/", 'x/" # wrong').replace('wrong"', "wrong"), "an earlier source has the topic"),
        (SOURCE.replace('["whsec"]', '["env:NOBODY"] # wrong'), "the environment variable NOBODY is not set"),
        (SOURCE.replace('["whsec"]', '["file:nowhere"] # wrong'), "nowhere (from file:nowhere) cannot be read"),
    ],
)
def test_what_is_wrong_with_a_source_is_told_with_line_and_reason(text: str, reason: str) -> None:
    assert problem(text).startswith(reason)


def test_a_mistake_in_an_option_is_not_taken_for_others() -> None:
    text = "router = 5 # wrong\nmax-body = '25MiB'\n[routers.github]\n"
    assert problem(text) == "router must be a string or a list of strings, not an integer"


def test_all_that_is_wrong_is_told_at_once() -> None:
    code, told = check(
        'bnd = ":1"\n'
        'keep = "long"\n'
        'keep-count = "5"\n'
        'router = ["github"]\n'
        "[[sources]]\n"
        'topic = "a//b"\n'
        'provider = "stripe"\n'
        "secrets = []\n"
        "colour = 5\n"
        "[[sources]]\n"
        'topic = "x"\n'
        "[routers.github]\n"
        "evnts = []\n"
    )
    assert code == 2
    assert sorted(number for number, _ in told) == [1, 2, 3, 6, 8, 9, 10, 10, 13 - 1]


def test_published_networks_are_known_once_they_were_fetched(tmp_path: Path) -> None:
    text = SOURCE + "allow_from = ['github']"
    assert check(text)[0] == 2
    write_ranges(tmp_path / "data" / "ranges.json", {"github": RangeList("", "", ("192.0.2.0/24",))})
    assert check(text) == (0, [])


def test_a_broken_file_of_networks_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "ranges.json").write_text("{")
    result = CliRunner().invoke(check_config, [write(SOURCE)])
    assert result.exit_code == 2
    assert "ranges.json is not a file that `hookbot update-ranges` wrote" in result.output


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("sslcrt = 'hookbot.toml'", "hookbot.toml:1: sslcrt: --sslcrt and --sslkey need each other"),
        ("sslca = 'hookbot.toml'", "--sslcrt and --sslkey need each other, and --sslca needs both"),
        (
            "sslcrt = 'hookbot.toml'\nsslkey = 'hookbot.toml'",
            "TLS needs a certificate chain",
        ),
        ("unsafe = ['none', 'x']", "hookbot.toml:1: unsafe: 'none' excludes other"),
        (
            "unsafe = []",
            "hookbot.toml:1: unsafe: a list of nothing would allow all unsafe topics",
        ),
        ("keep = '1d'\nrouter = ['github', 'github']", "hookbot.toml:2: router: the router 'github' is listed twice"),
        ("keep = '1d'\nrouter = ['gi hub']", "hookbot.toml:2: router: not a name for a router"),
    ],
)
def test_options_that_do_not_go_together_are_told(text: str, reason: str) -> None:
    result = CliRunner().invoke(check_config, [write(text)])
    assert result.exit_code == 2
    assert reason in result.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [("CONFIG", "other.toml"), ("CONFIG", "nowhere.toml"), ("UNSAFE", "none"), ("ROUTER", "github"), ("NO_SHA1", "1")],
)
@pytest.mark.parametrize("text", ["unsafe = ['x']\nrouter = []\nno-sha1 = false\n", "unsafe = ['y']\nrouter = []\n"])
def test_a_file_is_checked_as_it_stands_whatever_the_environment_would_override(
    name: str, value: str, text: str, environment: pytest.MonkeyPatch
) -> None:
    write("unsafe = ['none']\nbnd = 5", "other.toml")
    expected = check(text + SOURCE)
    environment.setenv(f"HOOKBOT_{name}", value)
    assert check(text + SOURCE) == expected


def test_a_variable_that_would_override_the_file_is_told(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HOOKBOT_KEEP", "2d")
    result = CliRunner().invoke(check_config, [write("keep = '1d'")])
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "hookbot.toml: HOOKBOT_KEEP is set here: it would override keep of the file",
        "hookbot.toml: no mistakes found",
    ]


def test_a_mistake_that_a_variable_makes_names_the_variable(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HOOKBOT_UNSAFE", "none x")
    result = CliRunner().invoke(check_config, [write("")])
    assert (result.exit_code, result.stderr) == (2, "HOOKBOT_UNSAFE: 'none' excludes other unsafe topics\n")


def test_a_store_that_hubs_share_is_checked_as_far_as_it_can_be_without_it(environment: pytest.MonkeyPatch) -> None:
    text = "keep = '1d'\nstore = 'postgresql://user:s3cret@db/hooks?ssslmode=require'\nrouter = ['github']\n"
    told = "hookbot.toml:2: store: the address postgresql://db/hooks?schema=hookbot is none that PostgreSQL takes"
    result = CliRunner().invoke(check_config, [write(text)])
    assert result.exit_code == 2
    assert [re.split(",|: it has", line)[0] for line in result.stderr.splitlines()] == [
        told,
        "there is no key",
        "there is no secret for GitHub's webhooks",
    ]

    environment.setenv("HOOKBOT_KEY", "k")
    environment.setenv("HOOKBOT_GITHUB_SECRET", "given")
    result = CliRunner().invoke(check_config, [write(text.replace("sss", "ss"))])
    assert (result.exit_code, result.output) == (0, "hookbot.toml: no mistakes found\n")


def test_a_store_without_what_it_needs_is_told(
    monkeypatch: pytest.MonkeyPatch, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("HOOKBOT_KEY", "k")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    result = CliRunner().invoke(check_config, [write("store = 'postgresql://db/hooks'")])
    assert result.exit_code == 2
    assert "pip install 'hookbot[postgres]'" in result.stderr


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("HOOKBOT_KEY", " ", "the key (--key or HOOKBOT_KEY) is blank"),
        ("HOOKBOT_KEY_FILE", "nowhere", "nowhere (from HOOKBOT_KEY_FILE) cannot be read: No such file or directory"),
        ("HOOKBOT_OLD_KEYS", "one\ntw\u200bo", "line 2 of HOOKBOT_OLD_KEYS contains U+200B ZERO WIDTH SPACE"),
        ("HOOKBOT_GITHUB_SECRET", "'s3cret'", "HOOKBOT_GITHUB_SECRET is in ''"),
        ("HOOKBOT_GITHUB_SECRET", f"sha256={'a' * 64}", "a secret of github begins with 'sha256='"),
        ("HOOKBOT_OLD_GITHUB_SECRETS_FILE", "nowhere", "nowhere (from HOOKBOT_OLD_GITHUB_SECRETS_FILE) cannot be read"),
    ],
)
def test_a_secret_with_which_the_hub_would_not_start_is_told(
    variable: str, value: str, reason: str, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv(variable, value)
    result = CliRunner().invoke(check_config, [write('router = ["github"]')])
    assert result.exit_code == 2
    assert reason in result.stderr


def test_a_secret_in_the_data_directory_with_which_the_hub_would_not_start_is_told() -> None:
    Path("d").mkdir()
    for name in ("key", "old-keys", "github-secret"):
        Path("d", name).write_bytes(b"s\xff" if name == "old-keys" else b"\n")
    result = CliRunner().invoke(check_config, [write('data-dir = "d"')])
    assert result.exit_code == 2
    assert [line.partition(" (")[0] for line in result.stderr.splitlines()] == ["d/key", "d/old-keys"]


def test_a_variable_that_is_wrong_is_told(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HOOKBOT_KEEP", "long")
    result = CliRunner().invoke(check_config, [write("")])
    assert result.exit_code == 2
    assert result.stderr == (
        "in the environment: Invalid value for 'HOOKBOT_KEEP': not a duration such as 90s, 10m, 2h or 7d: 'long'\n"
    )


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise OSError('no luck')", "OSError: no luck"),
        ("raise SystemExit(5)", "RuntimeError: it raised SystemExit: 5"),
        ("raise KeyboardInterrupt", "RuntimeError: it raised KeyboardInterrupt"),
        ("import os; os._exit(0)", "RuntimeError: it raised SystemExit: 0"),
    ],
)
@pytest.mark.parametrize("place", ["module", "constructor"])
def test_a_router_that_cannot_be_made_is_told(tmp_path: Path, code: str, reason: str, place: str) -> None:
    module, constructor = (code, "pass") if place == "module" else ("pass", code)
    (tmp_path / "broken.py").write_text(
        f"{module}\nclass Broken:\n    def __init__(self):\n        {constructor}\n"
        "    async def route(self, m, p): ...\n"
    )
    result = CliRunner().invoke(check_config, [write('keep = "1d"\nrouter = ["broken.py"]')])
    assert result.exit_code == 2
    assert f"hookbot.toml:2: router: [routers.broken]: the router cannot be created: {reason}" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", ["check-config hookbot.toml", "routers"])
def test_a_router_that_waits_when_python_ends_does_not_hold_up_the_command(tmp_path: Path, command: str) -> None:
    waiting = "import atexit, threading; atexit.register(threading.Event().wait)\n"
    (tmp_path / "waiting.py").write_text(
        f"{waiting}class Waiting:\n    topics = ('a',)\n    async def route(s, m, p): ..."
    )
    (tmp_path / "waiting-1.dist-info").mkdir()
    (tmp_path / "waiting-1.dist-info" / "METADATA").write_text("Name: waiting\nVersion: 1\n")
    (tmp_path / "waiting-1.dist-info" / "entry_points.txt").write_text("[hookbot.routers]\nwaiting = waiting:Waiting\n")
    write('router = ["waiting"]')

    ended = subprocess.run(
        [sys.executable, "-m", "hookbot", *command.split()],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        check=False,
        timeout=GUARD_S,
    )

    assert ended.returncode == 0
    assert ended.stdout


def test_what_was_checked_is_what_a_hub_takes() -> None:
    name = write('failure-rate = "7/m"\n' + SOURCE)
    assert CliRunner().invoke(check_config, [name]).exit_code == 0
    with serve.make_context("serve", ["--config", name], parent=click.Context(cli, obj={"key": "k"})) as context:
        assert find_config(context).failure_rate == Rate(7, 60)
