"""deploy/kubernetes/: manifests that a cluster takes, of hubs that start with what they say."""

import os
import re
from pathlib import Path
from typing import Any

import httpx
import kubernetes_validate
import pytest
import yaml

from hookbot.cli.serve import serve
from hookbot.cli.variables import unread_variables
from support import GUARD_S
from support.commands import run, starting
from support.images import last, variables
from support.pages import ROOT, blocks, page, section
from support.ports import free_ports
from support.postgres import PostgresServer, new_schema
from support.terminal import Terminal

FOLDER = ROOT / "deploy" / "kubernetes"
FILES = sorted(path.name for path in FOLDER.iterdir())
HUBS = {"one-hub.yaml": "StatefulSet", "several-hubs.yaml": "Deployment"}
PART = section(page("docs/operations.md"), "Run it in Kubernetes")


def manifests(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def manifest(name: str, kind: str) -> dict[str, Any]:
    [found] = (one for one in manifests(name) if one["kind"] == kind)
    return found


def pod(name: str) -> dict[str, Any]:
    """The template of the pods of a file."""
    found: dict[str, Any] = manifest(name, HUBS[name])["spec"]["template"]
    return found


def container(name: str) -> dict[str, Any]:
    [found] = pod(name)["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def mounts(name: str) -> dict[str, str]:
    """Where each volume of a hub is."""
    return {mount["name"]: mount["mountPath"] for mount in container(name)["volumeMounts"]}


def env(name: str) -> dict[str, str]:
    """The variables that a file sets to a text."""
    return {one["name"]: one["value"] for one in container(name)["env"] if "value" in one}


@pytest.mark.parametrize("name", FILES)
def test_kubernetes_takes_the_file(name: str) -> None:
    for one in manifests(name):
        kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("name", HUBS)
def test_what_belongs_together_is_called_the_same(name: str) -> None:
    hubs = manifest(name, HUBS[name])["spec"]
    volumes = {volume["name"] for volume in pod(name)["spec"]["volumes"]}
    claims = {claim["metadata"]["name"] for claim in hubs.get("volumeClaimTemplates", ())}
    [port] = container(name)["ports"]

    assert hubs["selector"]["matchLabels"] == pod(name)["metadata"]["labels"]
    assert manifest(name, "Service")["spec"]["selector"] == pod(name)["metadata"]["labels"]
    assert manifest(name, "Service")["spec"]["ports"][0]["targetPort"] == port["name"]
    assert mounts(name).keys() == volumes | claims


@pytest.mark.parametrize("name", HUBS)
def test_a_hub_finds_its_files_where_they_are_mounted(name: str) -> None:
    [file] = manifest(name, "ConfigMap")["data"]
    keys = manifest("secret.example.yaml", "Secret")["stringData"]
    passed = [one["valueFrom"]["secretKeyRef"] for one in container(name)["env"] if "secretKeyRef" in str(one)]

    assert env(name)["HOOKBOT_CONFIG"] == f"{mounts(name)['config']}/{file}"
    assert env(name)["HOOKBOT_KEY_FILE"] == f"{mounts(name)['secrets']}/key"
    assert variables()["HOOKBOT_DATA_DIR"] == mounts(name)["data"] == last("VOLUME")
    assert {"key", *(secret["key"] for secret in passed)} <= keys.keys()


@pytest.mark.parametrize("name", HUBS)
def test_a_hub_runs_as_the_user_of_the_image_and_may_do_nothing_else(name: str) -> None:
    of_pod, of_container = pod(name)["spec"]["securityContext"], container(name)["securityContext"]

    assert f"{of_pod['runAsUser']}:{of_pod['runAsGroup']}" == last("USER")
    assert of_pod["fsGroup"] == of_pod["runAsGroup"]
    assert of_pod["runAsNonRoot"]
    assert of_container["readOnlyRootFilesystem"]
    assert not of_container["allowPrivilegeEscalation"]
    assert of_container["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("name", HUBS)
def test_a_hub_has_longer_to_stop_than_its_grace(name: str) -> None:
    pause_s = container(name).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)

    with serve.make_context("serve", container(name)["args"][1:]) as context:
        assert pod(name)["spec"]["terminationGracePeriodSeconds"] > pause_s + context.params["grace_s"]


@pytest.mark.slow
@pytest.mark.parametrize("name", HUBS)
async def test_a_hub_starts_with_what_the_file_says_and_answers_its_probes(
    name: str, postgres: PostgresServer, tmp_path: Path
) -> None:
    [config] = manifest(name, "ConfigMap")["data"].values()
    (tmp_path / "hookbot.toml").write_text(
        config.replace("postgresql://hookbot@postgres/hookbot", f"{postgres.url}?schema={new_schema()}")
    )
    (tmp_path / "key").write_text("a key that is long enough for anybody")
    [port] = free_ports(1)
    here = {
        "HOOKBOT_CONFIG": str(tmp_path / "hookbot.toml"),
        "HOOKBOT_KEY_FILE": str(tmp_path / "key"),
        "HOOKBOT_DATA_DIR": str(tmp_path),
        "HOOKBOT_BIND": f"127.0.0.1:{port}",
    }
    variables = {key: value.replace("$(POD_IP)", "127.0.0.1") for key, value in env(name).items()} | here
    assert list(unread_variables(variables, [str(one.envvar) for one in serve.named_options().values()], "")) == []

    async with starting() as start, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=GUARD_S) as client:
        hub = await start(*container(name)["args"], env=os.environ | variables)
        await hub.until("listens on", "out")
        probes = [container(name)[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")]
        answers = [await client.get(probe["path"]) for probe in probes]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert {probe["port"] for probe in probes} == {container(name)["ports"][0]["name"]}


@pytest.mark.slow
async def test_a_hub_refuses_the_example_unless_it_is_filled_in(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(manifest("secret.example.yaml", "Secret")["stringData"]["key"])

    env = os.environ | {"HOOKBOT_KEY_FILE": str(tmp_path / "key")}
    code, _, complaint = await run("serve", "--data-dir", str(tmp_path), env=env)

    assert code == 2
    assert "is empty; it must hold a secret" in complaint


# `kubectl exec hookbot-0 -- COMMAND` runs it in a hub; everything else happens in a cluster.
KUBECTL = """
[ "$1" = exec ] && shift 3 && exec env HOOKBOT_KEY=key-of-the-secret "$@"
true
"""


@pytest.mark.slow
def test_the_commands_of_the_page_can_be_pasted(terminal: Terminal) -> None:
    terminal.program("kubectl", KUBECTL)
    terminal.paste(". .venv/bin/activate\n")

    output = "".join(terminal.paste(block) for block in blocks(PART))

    assert re.findall(r"@hub.example.com/(...)/deploy$", output, re.MULTILINE) == ["pub", "sub"], output
    assert f"statefulset/{manifest('one-hub.yaml', 'StatefulSet')['metadata']['name']}" in PART
