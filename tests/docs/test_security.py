"""docs/security.md: what is pasted on the machine of a hub makes a token that opens what the page says."""

import pytest

from support.pages import blocks, page, section
from support.terminal import Terminal

pytestmark = pytest.mark.slow


def test_a_token_is_narrowed(terminal: Terminal) -> None:
    terminal.serve()
    [narrow] = blocks(section(page("docs/security.md"), "Tokens"))

    url = terminal.paste(narrow).strip().replace("wss://", "ws://").replace("@hub.example.com", "@localhost:8080")
    terminal.paste('echo built | hookbot publish "$(hookbot make-tokens -U http://localhost:8080 /pub/builds/7)"\n')

    assert url.endswith("@localhost:8080/sub/builds/")
    assert terminal.paste(f"hookbot listen --raw --since all --no-follow {url}\n") == "built\n"
    refused = terminal.paste(f"hookbot listen --no-follow {url.removesuffix('builds/')}\n")
    # The hub in this terminal logs that, too.
    assert refused.endswith("hookbot: 401 Unauthorized: the token is for '/sub/builds/'\n")
