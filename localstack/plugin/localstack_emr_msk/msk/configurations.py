"""MSK's operations on configurations and their revisions."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from localstack_emr_msk.calls import Caller, Request, Response, now
from localstack_emr_msk.errors import ServiceError
from localstack_emr_msk.msk.rules import properties_error


def bad_request(message: str) -> ServiceError:
    """Returns MSK's error for an invalid request."""
    return ServiceError("BadRequestException", message)


def missing(what: str) -> ServiceError:
    """Returns MSK's error for a missing resource."""
    return ServiceError("NotFoundException", f"{what} does not exist.", 404)


def owns(caller: Caller, arn: str) -> bool:
    """Whether an ARN belongs to the caller's account and region."""
    return arn.startswith(f"arn:aws:kafka:{caller.region}:{caller.account}:")


@dataclass
class _Configuration:
    arn: str
    name: str
    description: str
    kafka_versions: list[str]
    created: datetime = field(default_factory=now)
    revisions: list[Response] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)

    def latest(self) -> Response:
        return {k: v for k, v in self.revisions[-1].items() if k != "ServerProperties"}

    def view(self) -> Response:
        return {
            "Arn": self.arn,
            "Name": self.name,
            "Description": self.description,
            "KafkaVersions": self.kafka_versions,
            "CreationTime": self.created,
            "LatestRevision": self.latest(),
            "State": "ACTIVE",
        }


class Configurations:
    """Part of ``MskProvider``."""

    def __init__(self) -> None:
        self._configurations: dict[str, _Configuration] = {}

    def in_use(self, configuration: str) -> bool:
        """Whether a cluster uses a configuration."""
        raise NotImplementedError

    def create_configuration(self, caller: Caller, request: Request) -> Response:
        """Creates a configuration with its first revision."""
        name = request["Name"]
        _check_properties(request)
        if any(each.name == name for each in self._all(caller)):
            raise ServiceError(
                "ConflictException", "A resource with this name already exists.", 409
            )
        prefix = f"arn:aws:kafka:{caller.region}:{caller.account}:configuration"
        made = _Configuration(
            f"{prefix}/{name}/{uuid.uuid4()}-1",
            name,
            request.get("Description") or "",
            list(request.get("KafkaVersions") or []),
        )
        self._configurations[made.arn] = made
        return self._revise(made, request)

    def update_configuration(self, caller: Caller, request: Request) -> Response:
        """Adds a revision."""
        _check_properties(request)
        return self._revise(self._configuration(caller, request["Arn"]), request)

    def describe_configuration(self, caller: Caller, request: Request) -> Response:
        """Describes a configuration, without its properties."""
        return self._configuration(caller, request["Arn"]).view()

    def list_configurations(self, caller: Caller, request: Request) -> Response:
        """Lists the configurations of an account and region."""
        return {"Configurations": [each.view() for each in self._all(caller)]}

    def describe_configuration_revision(self, caller: Caller, request: Request) -> Response:
        """Describes a revision with its properties."""
        found = self._configuration(caller, request["Arn"])
        number = int(request["Revision"])
        if not 1 <= number <= len(found.revisions):
            raise missing(f"Configuration revision {number}")
        return {"Arn": found.arn, **found.revisions[number - 1]}

    def list_configuration_revisions(self, caller: Caller, request: Request) -> Response:
        """Lists revisions, without their properties."""
        found = self._configuration(caller, request["Arn"])
        kept = [
            {k: v for k, v in each.items() if k != "ServerProperties"} for each in found.revisions
        ]
        return {"Revisions": kept}

    def delete_configuration(self, caller: Caller, request: Request) -> Response:
        """Deletes a configuration that no cluster uses."""
        found = self._configuration(caller, request["Arn"])
        if self.in_use(found.arn):
            raise bad_request(
                "Configuration is in use by one or more clusters. Dissociate the configuration "
                "from the clusters."
            )
        del self._configurations[found.arn]
        return {"Arn": found.arn, "State": "DELETING"}

    def check_configuration(self, caller: Caller, info: Mapping[str, Any] | None) -> None:
        """Raises ``ServiceError`` for a missing configuration or revision."""
        if info is None:
            return
        found = self._configuration(caller, info["Arn"])
        if not 1 <= int(info["Revision"]) <= len(found.revisions):
            raise bad_request(f"Configuration revision {info['Revision']} does not exist.")

    def _configuration(self, caller: Caller, arn: str) -> _Configuration:
        if arn not in self._configurations or not owns(caller, arn):
            # Unlike other missing resources, not a NotFoundException in MSK.
            raise bad_request("Configuration ARN does not exist.")
        return self._configurations[arn]

    def _all(self, caller: Caller) -> list[_Configuration]:
        return [each for each in self._configurations.values() if owns(caller, each.arn)]

    @staticmethod
    def _revise(found: _Configuration, request: Request) -> Response:
        found.revisions.append(
            {
                "Revision": len(found.revisions) + 1,
                "CreationTime": now(),
                "Description": request.get("Description") or "",
                "ServerProperties": request["ServerProperties"],
            }
        )
        return {
            "Arn": found.arn,
            "Name": found.name,
            "CreationTime": found.created,
            "LatestRevision": found.latest(),
            "State": "ACTIVE",
        }


def _check_properties(request: Request) -> None:
    """Raises ``ServiceError`` for properties that MSK does not let one set."""
    wrong = properties_error(request["ServerProperties"])
    if wrong is not None:
        raise bad_request(wrong)
