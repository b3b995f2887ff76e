"""What a hub says when it has started: on a terminal everything ready to paste, elsewhere no secret at all."""

from .cli_tokens import token_url
from .config import Config

TOPIC = "hello"


def welcome(config: Config, url: str, *, secrets: bool) -> str:
    """The text; with `secrets` it holds tokens, and so must go nowhere but to a person."""
    lines = [f"hookbot listens on {url}"]
    lines += _about_key(config)
    if secrets:
        lines += _to_paste(config, url)
    if config.github_secrets:
        lines += _about_github(config, url, secrets=secrets)
    return "\n".join(lines)


def _about_key(config: Config) -> list[str]:
    if config.key.path is None:
        return []
    made = "A new key was made" if config.key.new else "The key is"
    return [f"{made} in {config.key.path}"]


def _to_paste(config: Config, url: str) -> list[str]:
    key = config.key.value
    publish = token_url(key, f"/pub/{TOPIC}", url)
    return [
        "",
        f"Publish:    {publish}",
        f"Subscribe:  {token_url(key, f'/sub/{TOPIC}', url)}",
        f"Try it:     curl -d 'hello, world' {publish}",
        f"Tokens:     hookbot make-tokens -U {url} /pub/TOPIC /sub/TOPIC",
    ]


def _about_github(config: Config, url: str, *, secrets: bool) -> list[str]:
    secret = config.github_secrets[0]
    place = f"the contents of {secret.path}" if secret.path else "the one that the hub was given"
    return [
        "",
        "In GitHub's webhook form (organisation or repository, Settings, Webhooks, Add webhook):",
        f"  Payload URL:   {url}/unsafe/pub/github.com/org/YOUR-ORGANISATION",
        "  Content type:  application/json",
        f"  Secret:        {secret.value if secrets else place}",
        "  Events:        whichever you like; then listen to github.com/repo/OWNER/NAME",
    ]
