"""The alerts and the dashboard in deploy/: promtool's tests, and the existence of the metrics that they use."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from po_api.observability.metrics import REGISTRY
from support.metrics import metrics_of

pytestmark = pytest.mark.heavy

NAME = re.compile(r"\bpo_[a-z0-9_]+")
PARAMETERS = {"$job": "po-api", "$instance": ".*", "$__rate_interval": "5m"}


@pytest.fixture(scope="module")
def deploy() -> Path:
    return Path(__file__).parents[2] / "deploy"


def _promtool(*arguments: str | Path) -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("no promtool is installed")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.exhaustive
def test_each_alert_fires_when_it_should_and_only_then(deploy: Path) -> None:
    _promtool("check", "rules", deploy / "prometheus" / "alerts.yml")
    _promtool("test", "rules", deploy / "prometheus" / "alerts_test.yml")


def test_each_alert_has_both_tests_and_a_chapter_on_what_to_do(deploy: Path, project: Path) -> None:
    rules = (deploy / "prometheus" / "alerts.yml").read_text()
    tests = (deploy / "prometheus" / "alerts_test.yml").read_text()
    docs = (project / "docs" / "operations.md").read_text()
    alerts = re.findall(r"- alert: (\w+)", rules)
    assert len(alerts) == len(set(alerts)) > 20
    for alert in alerts:
        assert f'"{alert} fires"' in tests, alert
        assert f'"{alert} does not: ' in tests, alert
    headings = {_anchor(heading) for heading in re.findall(r"^#+ (.+)$", docs, re.MULTILINE)}
    runbooks = re.findall(r"runbook: docs/operations.md#(\S+)", rules)
    assert len(runbooks) == len(alerts)
    assert set(runbooks) - headings == set()


def _anchor(heading: str) -> str:
    """The anchor that GitHub creates for a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_the_example_is_valid(deploy: Path) -> None:
    _promtool("check", "config", deploy / "prometheus" / "prometheus.yml")


def _dashboard(deploy: Path) -> dict[str, Any]:
    dashboard: dict[str, Any] = json.loads((deploy / "grafana" / "po-api.json").read_text())
    return dashboard


def _expressions(dashboard: dict[str, Any]) -> Iterator[str]:
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]


async def test_all_that_they_name_is_shown(deploy: Path, urls: tuple[str, str], app: FastAPI) -> None:
    text = (deploy / "prometheus" / "alerts.yml").read_text() + (deploy / "grafana" / "po-api.json").read_text()
    named = set(NAME.findall(text)) - {"po_api"}
    assert len(named) > 30
    async with metrics_of(urls[1], counted=REGISTRY) as scraped:
        found = await scraped()
    assert named <= found.names


def test_the_dashboards_expressions_are_valid(deploy: Path, tmp_path: Path) -> None:
    text = "\n".join(_expressions(_dashboard(deploy)))
    for name, value in PARAMETERS.items():
        text = text.replace(name, value)
    rules = [{"record": f"panel:{number}", "expr": line} for number, line in enumerate(text.splitlines())]
    assert len(rules) > 30
    file = tmp_path / "panels.yml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    _promtool("check", "rules", file)


def test_the_dashboard_can_be_imported_anywhere(deploy: Path) -> None:
    dashboard = _dashboard(deploy)
    variables = {variable["name"]: variable["type"] for variable in dashboard["templating"]["list"]}
    assert variables == {"datasource": "datasource", "job": "query", "instance": "query"}
    sources = {json.dumps(item["datasource"]) for panel in dashboard["panels"] for item in panel.get("targets", ())}
    assert sources == {'{"type": "prometheus", "uid": "${datasource}"}'}
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    assert "id" not in dashboard
