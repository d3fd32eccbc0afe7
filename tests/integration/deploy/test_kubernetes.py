"""The manifests: valid, hardened, and of one mind with the services that they run."""

import functools
import importlib.util
import itertools
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from deploy.commands import ROOT
from deploy.local.settings import SERVICES
from tests.integration.deploy.variables import variables_of

FOLDER = ROOT / "deploy" / "kubernetes"
BASE = sorted(path for path in (FOLDER / "base").glob("*.yaml") if path.stem != "kustomization")
OVERLAYS = sorted(path.name for path in (FOLDER / "overlays").iterdir())
VERSIONS = ("1.33", "1.37")  # of Kubernetes: from and to
KUBECTL = shutil.which("kubectl", path=f"{Path(sys.executable).parent}:/usr/bin:/usr/local/bin")
PROBES = {
    "startupProbe": "/health/startup",
    "livenessProbe": "/health/live",
    "readinessProbe": "/health/ready",
}
WORKLOADS = {"Deployment", "StatefulSet", "CronJob"}

needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not here: it renders them")
Manifest = dict[str, Any]


def read(path: Path) -> list[Manifest]:
    found = list(yaml.safe_load_all(path.read_text()))
    # Kustomize names the experiments' map; the rest is as in the files.
    return [manifest for manifest in found if manifest.get("kind") not in {None, "Kustomization"}]


@functools.cache
def read_base() -> list[Manifest]:
    return [manifest for path in BASE if path.stem != "experiments" for manifest in read(path)]


@functools.cache
def render(overlay: str) -> list[Manifest]:
    result = subprocess.run(
        [str(KUBECTL), "kustomize", FOLDER / "overlays" / overlay],
        check=True,
        capture_output=True,
        text=True,
    )
    return list(yaml.safe_load_all(result.stdout))


def workloads(manifests: list[Manifest]) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in WORKLOADS]


def pod_template(workload: Manifest) -> Manifest:
    spec = workload["spec"]
    template: Manifest = (spec.get("jobTemplate", {}).get("spec") or spec)["template"]
    return template


def pod(workload: Manifest) -> Manifest:
    found: Manifest = pod_template(workload)["spec"]
    return found


def containers(workload: Manifest) -> list[Manifest]:
    spec = pod(workload)
    return [*spec["containers"], *spec.get("initContainers", [])]


def name_of(manifest: Manifest) -> str:
    return str(manifest["metadata"]["name"])


def id_of(manifest: Manifest) -> str:
    return f"{manifest['kind']}-{name_of(manifest)}"


def in_every_overlay() -> list[Any]:
    return [pytest.param(overlay, marks=needs_kubectl) for overlay in OVERLAYS]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("manifest", read_base(), ids=id_of)
def test_a_manifest_is_of_its_schema(manifest: Manifest, version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("overlay", in_every_overlay())
def test_an_overlay_is_of_its_schema(overlay: str) -> None:
    for manifest in render(overlay):  # `make lint` holds them against the newest version
        kubernetes_validate.validate(manifest, VERSIONS[0], strict=True)


@pytest.mark.parametrize("overlay", in_every_overlay())
def test_every_container_may_do_little_and_takes_its_share(overlay: str) -> None:
    for workload in workloads(render(overlay)):
        spec = pod(workload)
        assert spec["automountServiceAccountToken"] is False, name_of(workload)
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(workload):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"cpu", "memory"} == set(container["resources"]["requests"])
            assert {"cpu", "memory"} == set(container["resources"]["limits"])
            assert ":" in container["image"].rpartition("/")[2], "no tag"


@pytest.mark.parametrize("overlay", in_every_overlay())
def test_what_a_container_mounts_its_pod_has(overlay: str) -> None:
    for workload in workloads(render(overlay)):
        volumes = {volume["name"] for volume in pod(workload)["volumes"]}
        volumes |= {name_of(claim) for claim in workload["spec"].get("volumeClaimTemplates", [])}
        mounted = {mount["name"] for each in containers(workload) for mount in each["volumeMounts"]}
        assert mounted == volumes, name_of(workload)


@pytest.mark.parametrize("workload", workloads(read_base()), ids=name_of)
def test_a_service_is_told_only_what_it_reads(workload: Manifest) -> None:
    program = {"retraining": "retrain"}.get(name_of(workload), name_of(workload))
    (container,) = containers(workload)
    assert {each["name"] for each in container["env"]} <= variables_of(program)


@pytest.mark.parametrize("workload", workloads(read_base()), ids=name_of)
def test_a_secret_is_read_from_a_file_that_is_mounted(workload: Manifest) -> None:
    (container,) = containers(workload)
    (secret,) = (each["secret"] for each in pod(workload)["volumes"] if "secret" in each)
    files = {each["value"] for each in container["env"] if each["name"].endswith("_FILE")}
    assert files == {f"/etc/segue/secrets/{item['path']}" for item in secret["items"]}
    assert not any("valueFrom" in each for each in container["env"])


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_the_three_questions_are_asked_at_the_services_port(name: str) -> None:
    (workload,) = (each for each in workloads(read_base()) if name_of(each) == name)
    (container,) = containers(workload)
    for probe, path in PROBES.items():
        assert container[probe]["httpGet"] == {"path": path, "port": "http"}
    assert container["ports"] == [{"name": "http", "containerPort": SERVICES[name]}]
    annotations = pod_template(workload)["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(SERVICES[name])
    (service,) = (e for e in read_base() if (e["kind"], name_of(e)) == ("Service", name))
    assert service["spec"]["ports"][0]["port"] == SERVICES[name]


def test_what_names_others_finds_them() -> None:
    manifests = read_base()
    labels = {name_of(e): pod_template(e)["metadata"]["labels"] for e in workloads(manifests)}
    for manifest in manifests:
        spec = manifest.get("spec", {})
        match manifest["kind"]:
            case "Deployment" | "StatefulSet" | "PodDisruptionBudget":
                assert spec["selector"]["matchLabels"] == labels[name_of(manifest)]
            case "Service":
                assert spec["selector"] in labels.values()
            case "HorizontalPodAutoscaler":
                target = spec["scaleTargetRef"]
                assert (target["kind"], target["name"]) in {
                    (each["kind"], name_of(each)) for each in workloads(manifests)
                }


def test_recommenders_are_scaled_by_the_metric_that_the_adapter_makes() -> None:
    (scaler,) = (each for each in read_base() if each["kind"] == "HorizontalPodAutoscaler")
    (rule,) = yaml.safe_load((FOLDER / "prometheus-adapter.yaml").read_text())["rules"]["custom"]
    metrics = scaler["spec"]["metrics"]
    scaled_by = [each["pods"]["metric"]["name"] for each in metrics if "pods" in each]
    assert scaled_by == [rule["name"]["as"]]
    assert rule["seriesQuery"].startswith("segue_request_duration_seconds_count{")


def test_the_nightly_training_runs_a_module_of_its_image() -> None:
    (job,) = (each for each in read_base() if each["kind"] == "CronJob")
    (container,) = containers(job)
    assert container["image"] == "segue-simulator"
    assert container["command"][:2] == ["python", "-m"]
    assert importlib.util.find_spec(container["command"][2]) is not None
    assert job["spec"]["concurrencyPolicy"] == "Forbid"
    # It gives up before it is ended, and says why.
    timeout = next(e["value"] for e in container["env"] if e["name"] == "SEGUE_RETRAIN_TIMEOUT_S")
    assert float(timeout) < job["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"]


def test_a_pod_has_time_to_answer_what_it_accepted() -> None:
    for workload in workloads(read_base()):
        if workload["kind"] != "CronJob":
            (container,) = containers(workload)
            slept = container["lifecycle"]["preStop"]["sleep"]["seconds"]
            assert pod(workload)["terminationGracePeriodSeconds"] >= slept + 10


def test_the_experiments_are_those_of_the_other_stacks() -> None:
    ours, theirs = FOLDER / "base" / "experiments.yaml", ROOT / "deploy" / "experiments.yaml"
    assert ours.read_bytes() == theirs.read_bytes(), f"cp {theirs} {ours}"


def matches(selector: Manifest, labels: dict[str, str]) -> bool:
    """Evaluate a label selector."""
    wanted = selector.get("matchLabels", {}).items()
    terms = selector.get("matchExpressions", [])
    assert all(term["operator"] == "In" for term in terms)
    return wanted <= labels.items() and all(
        labels.get(term["key"]) in term["values"] for term in terms
    )


def allows(policies: list[Manifest], way: str, one: dict[str, str], other: dict[str, str]) -> bool:
    """Whether policies let a pod send to (`egress`), or hear from (`ingress`), another."""
    peers = {"egress": "to", "ingress": "from"}[way]
    for policy in policies:
        spec = policy["spec"]
        if not matches(spec["podSelector"], one):
            continue
        for rule in spec.get(way, []):
            for peer in rule.get(peers, []):
                if set(peer) == {"podSelector"} and matches(peer["podSelector"], other):
                    return True
    return False


def flows(manifests: list[Manifest]) -> Iterator[tuple[str, str]]:
    """Yield which workload may talk to which, by name: both ends must agree."""
    policies = [each for each in manifests if each["kind"] == "NetworkPolicy"]
    labels = {name_of(e): pod_template(e)["metadata"]["labels"] for e in workloads(manifests)}
    for (one, ours), (other, theirs) in itertools.permutations(labels.items(), 2):
        if allows(policies, "egress", ours, theirs) and allows(policies, "ingress", theirs, ours):
            yield one, other


def test_pods_talk_as_the_design_has_it_and_no_more() -> None:
    policies = [each for each in read_base() if each["kind"] == "NetworkPolicy"]
    (deny,) = (each for each in policies if name_of(each) == "default-deny")
    assert deny["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert set(flows(read_base())) == {
        ("dashboard", "recommender"),
        ("dashboard", "trainer"),
        ("dashboard", "logger"),
        ("retraining", "trainer"),
    }


@needs_kubectl
def test_databases_in_the_cluster_hear_only_those_who_need_them() -> None:
    manifests = render("local")
    policies = [each for each in manifests if each["kind"] == "NetworkPolicy"]
    labels = {name_of(e): pod_template(e)["metadata"]["labels"] for e in workloads(manifests)}
    heard = {
        database: {
            name for name in labels if allows(policies, "ingress", labels[database], labels[name])
        }
        for database in ("redis", "postgres")
    }
    assert heard == {"redis": set(SERVICES), "postgres": set(SERVICES) - {"recommender"}}


@needs_kubectl
def test_in_production_only_the_databases_addresses_can_be_reached_outside() -> None:
    rules = [
        rule
        for each in render("production")
        if each["kind"] == "NetworkPolicy"
        for rule in each["spec"].get("egress", [])
    ]
    assert rules
    assert all(rule["to"] for rule in rules)
