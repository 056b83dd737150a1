"""Plays External Secrets and the kubelet for the manifests of examples/external-secrets.

No cluster is needed: what is played is what the two do with a secret. External Secrets takes the
role that the SecretStore names and reads the secret every `refreshInterval`; the kubelet writes
the files of a Secret volume, all at once by its `..data` link. A minute of theirs is a second. The
manifests are read strictly: a field that is not played here is an error.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import yaml
from pydantic import BaseModel, ConfigDict, Field

from proofs.consumers.programs import EXAMPLES, Program, Report, environment
from proofs.consumers.readers import filled, identity_token
from proofs.stack.support import MachineUser, Stack, eventually

FOLDER = "external-secrets"
ISSUER = "https://oidc.eks.eu-central-1.amazonaws.com/id/EXAMPLE"
MINUTE = 1.0
"""How many seconds a minute of the cluster takes."""
KUBELET_MINUTES = 1.0
"""How often the kubelet looks at its pods (`syncFrequency`)."""


class Manifest(BaseModel):
    """A part of a manifest: exactly these fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Metadata(Manifest):
    """Name and place of an object."""

    name: str
    namespace: str
    annotations: dict[str, str] = Field(default_factory=dict)


class ServiceAccount(Manifest):
    """The identity with which External Secrets reads."""

    apiVersion: Literal["v1"]
    kind: Literal["ServiceAccount"]
    metadata: Metadata


class Named(Manifest):
    """A reference by name, in the same namespace."""

    name: str
    kind: Literal["SecretStore"] = "SecretStore"


class Jwt(Manifest):
    """By a service account's token."""

    serviceAccountRef: Named


class Auth(Manifest):
    """How External Secrets becomes somebody in AWS."""

    jwt: Jwt


class Aws(Manifest):
    """AWS Secrets Manager of one Region."""

    service: Literal["SecretsManager"]
    region: str
    auth: Auth


class Provider(Manifest):
    """Where secrets come from."""

    aws: Aws


class StoreSpec(Manifest):
    """What a SecretStore says."""

    provider: Provider


class SecretStore(Manifest):
    """Where and as whom to read."""

    apiVersion: Literal["external-secrets.io/v1"]
    kind: Literal["SecretStore"]
    metadata: Metadata
    spec: StoreSpec


class RemoteRef(Manifest):
    """A secret, or one property of the JSON in it."""

    key: str
    property: str | None = None


class Data(Manifest):
    """One entry of the Kubernetes Secret, and where it comes from."""

    secretKey: str
    remoteRef: RemoteRef


class Target(Manifest):
    """The Kubernetes Secret to write."""

    name: str
    creationPolicy: Literal["Owner"]


class ExternalSecretSpec(Manifest):
    """What an ExternalSecret says."""

    refreshPolicy: Literal["Periodic"]
    refreshInterval: str
    secretStoreRef: Named
    target: Target
    data: list[Data]


class ExternalSecret(Manifest):
    """What to read, how often, and where to put it."""

    apiVersion: Literal["external-secrets.io/v1"]
    kind: Literal["ExternalSecret"]
    metadata: Metadata
    spec: ExternalSecretSpec

    @property
    def refresh_minutes(self) -> float:
        """The refresh interval, a Go duration such as 1h0m0s."""
        found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", self.spec.refreshInterval)
        assert found, self.spec.refreshInterval
        hours, minutes, seconds = (int(part or 0) for part in found.groups())
        return hours * 60 + minutes + seconds / 60


class Labels(Manifest):
    """Labels by which the Deployment finds its pods."""

    matchLabels: dict[str, str]


class Variable(Manifest):
    """A variable of a container."""

    name: str
    value: str


class Mount(Manifest):
    """Where a volume is. Without `subPath`: such a file would never be replaced."""

    name: str
    mountPath: str
    readOnly: Literal[True]


class Container(Manifest):
    """A container of the pod."""

    name: str
    image: str
    command: list[str]
    env: list[Variable]
    volumeMounts: list[Mount]


class SecretVolume(Manifest):
    """A Kubernetes Secret as files."""

    secretName: str
    defaultMode: int


class Volume(Manifest):
    """A volume of the pod."""

    name: str
    secret: SecretVolume


class PodSpec(Manifest):
    """What a pod is made of."""

    containers: list[Container]
    volumes: list[Volume]
    securityContext: dict[str, bool | int]


class PodMetadata(Manifest):
    """The labels of a pod."""

    labels: dict[str, str]


class PodTemplate(Manifest):
    """A pod as the Deployment makes it."""

    metadata: PodMetadata
    spec: PodSpec


class DeploymentSpec(Manifest):
    """What a Deployment says."""

    replicas: int
    selector: Labels
    template: PodTemplate


class Deployment(Manifest):
    """The program in its container."""

    apiVersion: Literal["apps/v1"]
    kind: Literal["Deployment"]
    metadata: Metadata
    spec: DeploymentSpec

    @property
    def pod(self) -> PodSpec:
        """The pod's parts."""
        return self.spec.template.spec


def manifests(stack: Stack, user: MachineUser, file: str) -> list[dict[str, Any]]:
    """Return the objects of a file, filled in for a user."""
    return list(yaml.safe_load_all(filled(stack, user, f"{FOLDER}/{file}")))


class Cluster:
    """One ExternalSecret with its store, and the volume of one pod in `mount`."""

    def __init__(self, stack: Stack, user: MachineUser, mount: Path) -> None:
        account, store = manifests(stack, user, "secret-store.yaml")
        (external,) = manifests(stack, user, "external-secret.yaml")
        (deployment,) = manifests(stack, user, "deployment.yaml")
        self._stack = stack
        self._account = ServiceAccount.model_validate(account)
        self._store = SecretStore.model_validate(store)
        self._external = ExternalSecret.model_validate(external)
        self._pod = Deployment.model_validate(deployment).pod
        self._mount = mount
        self._secret: dict[str, str] = {}
        self._mounted: dict[str, str] = {}
        self._over = threading.Event()
        self.problem = ""
        objects = (account, store, external, deployment)
        assert len({one["metadata"]["namespace"] for one in objects}) == 1
        reads_from = self._external.spec.secretStoreRef.name
        assert reads_from == self._store.metadata.name
        reader = self._store.spec.provider.aws.auth.jwt.serviceAccountRef.name
        assert reader == self._account.metadata.name
        (volume,) = self._pod.volumes
        assert volume.secret.secretName == self._external.spec.target.name
        self._mode = volume.secret.defaultMode
        mount.mkdir()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()

    @property
    def mounted(self) -> bool:
        """Whether the files are there; a pod does not start before. Fails after a problem."""
        assert not self.problem, self.problem
        return bool(self._mounted)

    def container(self) -> tuple[list[str], dict[str, str]]:
        """Return the command and the variables of the Deployment's only container."""
        (container,) = self._pod.containers
        (mounted,) = container.volumeMounts
        python, script, *arguments = container.command
        assert python == "python"
        moved = [one.replace(mounted.mountPath, str(self._mount)) for one in arguments]
        assert moved != arguments
        variables = {one.name: one.value for one in container.env}
        return [sys.executable, str(EXAMPLES / script), *moved], variables

    def stop(self) -> None:
        """Stop looking."""
        self._over.set()
        self._thread.join()

    def _live(self) -> None:
        refresh, sync = self._external.refresh_minutes * MINUTE, KUBELET_MINUTES * MINUTE
        next_refresh = 0.0
        try:
            while not self._over.is_set():
                if time.monotonic() >= next_refresh:
                    next_refresh = time.monotonic() + refresh
                    self._secret = self._read()
                self._over.wait(sync)
                if self._secret != self._mounted:
                    self._write(self._secret)
        except Exception:  # noqa: BLE001 - whatever it is, the test has to hear of it
            self.problem = traceback.format_exc()

    def _read(self) -> dict[str, str]:
        """What External Secrets does: as the service account's role, read every entry."""
        account = self._account.metadata
        subject = f"system:serviceaccount:{account.namespace}:{account.name}"
        issuer = ISSUER.replace("eu-central-1", self._stack.aws.region)
        session = self._stack.aws.client("sts").assume_role_with_web_identity(
            RoleArn=account.annotations["eks.amazonaws.com/role-arn"],
            RoleSessionName="external-secrets-provider-aws",
            WebIdentityToken=identity_token(issuer, subject),
        )["Credentials"]
        make: Any = self._stack.aws.session().client
        reader = make(
            "secretsmanager",
            aws_access_key_id=session["AccessKeyId"],
            aws_secret_access_key=session["SecretAccessKey"],
            aws_session_token=session["SessionToken"],
        )
        entries = {}
        for entry in self._external.spec.data:
            value = reader.get_secret_value(SecretId=entry.remoteRef.key)["SecretString"]
            wanted = entry.remoteRef.property
            entries[entry.secretKey] = str(json.loads(value)[wanted]) if wanted else value
        return entries

    def _write(self, files: dict[str, str]) -> None:
        """What the kubelet does: a new directory, to which one renamed link points from now on."""
        data = self._mount / "..data"
        old = data.readlink() if data.is_symlink() else None
        new = self._mount / f"..{uuid4().hex}"
        new.mkdir()
        for name, content in files.items():
            (new / name).write_text(content, encoding="utf-8")
            (new / name).chmod(self._mode)
        link = self._mount / "..data_tmp"
        link.symlink_to(new.name)
        link.replace(data)
        for name in files:
            if not (self._mount / name).is_symlink():
                (self._mount / name).symlink_to(f"..data/{name}")
        if old is not None:
            shutil.rmtree(self._mount / old)
        self._mounted = files


class Pod(Program):
    """The container of the Deployment, in a cluster that is played."""

    def __init__(self, stack: Stack, user: MachineUser, directory: Path) -> None:
        self._cluster = Cluster(stack, user, directory / "mount")
        try:
            eventually(lambda: self._cluster.mounted, within_seconds=60, what="the pod can start")
            command, variables = self._cluster.container()
            super().__init__(
                "mounted_key",
                [*command, "--interval-seconds", "0.4"],
                environment(stack.aws, directory / "config") | variables,
                directory / "pod.stderr",
            )
        except BaseException:
            self._cluster.stop()
            raise

    @property
    def running(self) -> bool:
        """Whether neither the container nor what is played around it has ended."""
        assert not self._cluster.problem, self._cluster.problem
        return super().running

    def stop(self) -> Report:
        """Stop the container, then the cluster."""
        report = super().stop()
        self._cluster.stop()
        return report
