"""Welcome text of ``hookbot serve``: where the hub listens, and how to use it."""

import shlex
from collections.abc import Sequence

from ..access.tokens import Digest, make_token
from ..hub.config import Config
from ..hub.data_dir import default_data_dir
from ..hub.secret_store import KEY, KEY_FILE
from .tokens import token_url

TOPIC = "hello"
"""Topic of its URLs."""


def welcome(config: Config, url: str, addresses: Sequence[str] = (), *, secrets: bool) -> str:
    """Text to print when a hub has started. With `secrets`, it contains secrets that only the operator may see."""
    lines = [f"hookbot listens on {', '.join(addresses or (url,))}"]
    lines += _about_key(config)
    if secrets:
        lines += _to_paste(config, url)
    lines += [f"Tokens:     {_make_tokens(config, url)}"]
    if config.console:
        lines += [f"Console:    {config.public_url or url}/hookbot/"]
        if secrets:
            lines += [f"  sign in:  {make_token(config.key.value, '/', _digest(config))}"]
    if config.github_secrets:
        lines += _about_github(config, url, secrets=secrets)
    return "\n".join(lines)


def _about_key(config: Config) -> list[str]:
    if config.key.path is None:
        return []
    made = "A new key was made" if config.key.new else "The key is"
    return [f"{made} in {config.key.path}"]


def _to_paste(config: Config, url: str) -> list[str]:
    publish, subscribe = (
        token_url(config.key.value, f"/{way}/{TOPIC}", url, _digest(config)) for way in ("pub", "sub")
    )
    return ["", f"Publish:    {publish}", f"Subscribe:  {subscribe}", f"Try it:     curl -d 'hello, world' {publish}"]


def _digest(config: Config) -> Digest:
    return "sha1" if config.sha1_tokens else "sha256"


def _make_tokens(config: Config, url: str) -> str:
    """Command that makes more tokens with the key of the hub; one that was given must be in the shell's HOOKBOT_KEY."""
    kept, path = config.data_dir / KEY_FILE, config.key.path
    command = ["hookbot", "make-tokens", "-U", url]
    if path == kept and config.data_dir != default_data_dir():
        command += ["--data-dir", str(config.data_dir)]
    if not config.sha1_tokens:
        command.append("--sha256")
    text = shlex.join([*command, "/pub/TOPIC", "/sub/TOPIC"])
    if path == kept:
        return text
    # Without the variable, the shell says so; otherwise the command would use, or make, another key.
    return f"{KEY}_FILE={shlex.quote(str(path))} {text}" if path else f"{KEY}=${{{KEY}:?}} {text}"


def _about_github(config: Config, url: str, *, secrets: bool) -> list[str]:
    secret = config.github_secrets[0]
    place = f"the contents of {secret.path}" if secret.path else "the one that was given to the hub"
    return [
        "",
        "In GitHub's webhook form (organisation or repository, Settings, Webhooks, Add webhook):",
        f"  Payload URL:   {url}/unsafe/pub/github.com/org/YOUR-ORGANISATION",
        "  Content type:  application/json",
        f"  Secret:        {secret.value if secrets else place}",
        "  Events:        any; then listen to github.com/repo/OWNER/NAME",
    ]
