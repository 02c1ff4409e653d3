"""EMR's operations on managed scaling, auto-termination, security and public access.

Auto-termination works. Scaling policies are stored but have no effect on one machine. Security
configurations are stored, and must exist when a cluster refers to one.
"""

import json

from localstack_emr_msk.calls import Caller, Request, Response, now
from localstack_emr_msk.emr.cluster import ENDED
from localstack_emr_msk.emr.registry import Registry, page
from localstack_emr_msk.emr.requests import check_idle_timeout, check_scaling
from localstack_emr_msk.errors import invalid_request


class PolicyOperations:
    """Part of ``EmrProvider``."""

    registry: Registry

    # ---- managed scaling

    def put_managed_scaling_policy(self, caller: Caller, request: Request) -> Response:
        """Stores the scaling limits of a cluster."""
        cluster = self.registry.described(caller, request["ClusterId"])
        policy = request["ManagedScalingPolicy"]
        check_scaling(policy, fleets=cluster.fleets[0].fleets)
        with cluster.changed:
            cluster.check_modifiable()
            cluster.scaling = policy
        return {}

    def get_managed_scaling_policy(self, caller: Caller, request: Request) -> Response:
        """Returns the scaling limits, if there are any."""
        policy = self.registry.described(caller, request["ClusterId"]).scaling
        return {"ManagedScalingPolicy": policy} if policy else {}

    def remove_managed_scaling_policy(self, caller: Caller, request: Request) -> Response:
        """Removes the scaling limits."""
        self.registry.described(caller, request["ClusterId"]).scaling = None
        return {}

    # ---- auto-termination

    def put_auto_termination_policy(self, caller: Caller, request: Request) -> Response:
        """Sets the time after which an idle cluster ends."""
        cluster = self.registry.described(caller, request["ClusterId"])
        policy = request.get("AutoTerminationPolicy")
        check_idle_timeout(policy)
        with cluster.changed:
            cluster.check_modifiable()
            cluster.auto_termination = policy
        return {}

    def get_auto_termination_policy(self, caller: Caller, request: Request) -> Response:
        """Returns the auto-termination policy, if there is one."""
        policy = self.registry.described(caller, request["ClusterId"]).auto_termination
        return {"AutoTerminationPolicy": policy} if policy else {}

    def remove_auto_termination_policy(self, caller: Caller, request: Request) -> Response:
        """Removes the auto-termination policy."""
        self.registry.described(caller, request["ClusterId"]).auto_termination = None
        return {}

    # ---- security configurations

    def create_security_configuration(self, caller: Caller, request: Request) -> Response:
        """Creates a security configuration, which cannot be changed later."""
        name, text = request["Name"], request["SecurityConfiguration"]
        known = self.registry.security(caller)
        if name in known:
            raise invalid_request(f"SecurityConfiguration with name '{name}' already exists.")
        try:
            valid = isinstance(json.loads(text), dict)
        except ValueError:
            valid = False
        if not valid:
            raise invalid_request("The security configuration is not a JSON object.")
        known[name] = {
            "Name": name,
            "SecurityConfiguration": text,
            "CreationDateTime": now(),
        }
        return {"Name": name, "CreationDateTime": known[name]["CreationDateTime"]}

    def describe_security_configuration(self, caller: Caller, request: Request) -> Response:
        """Describes a security configuration."""
        name = request["Name"]
        if name not in self.registry.security(caller):
            raise invalid_request(f"Security configuration with name '{name}' does not exist.")
        return self.registry.security(caller)[name]

    def list_security_configurations(self, caller: Caller, request: Request) -> Response:
        """Lists the names of security configurations."""
        found = [
            {"Name": each["Name"], "CreationDateTime": each["CreationDateTime"]}
            for each in self.registry.security(caller).values()
        ]
        return page("SecurityConfigurations", found, request)

    def delete_security_configuration(self, caller: Caller, request: Request) -> Response:
        """Deletes a security configuration that no active cluster uses."""
        name = request["Name"]
        self.describe_security_configuration(caller, request)
        for cluster in self.registry.clusters(caller):
            if cluster.state not in ENDED and cluster.request.get("SecurityConfiguration") == name:
                raise invalid_request(
                    f"Security configuration '{name}' cannot be deleted: a cluster uses it."
                )
        del self.registry.security(caller)[name]
        return {}

    # ---- public access

    def get_block_public_access_configuration(self, caller: Caller, request: Request) -> Response:
        """Returns the configuration, or the default of accounts."""
        return self.registry.block_public.get(caller) or _blocked(
            caller,
            {
                "BlockPublicSecurityGroupRules": True,
                "PermittedPublicSecurityGroupRuleRanges": [{"MinRange": 22, "MaxRange": 22}],
            },
        )

    def put_block_public_access_configuration(self, caller: Caller, request: Request) -> Response:
        """Stores the configuration, which has no effect here."""
        configuration = request["BlockPublicAccessConfiguration"]
        self.registry.block_public[caller] = _blocked(caller, configuration)
        return {}


def _blocked(caller: Caller, configuration: Request) -> Response:
    return {
        "BlockPublicAccessConfiguration": configuration,
        "BlockPublicAccessConfigurationMetadata": {
            "CreationDateTime": now(),
            "CreatedByArn": f"arn:aws:iam::{caller.account}:root",
        },
    }
