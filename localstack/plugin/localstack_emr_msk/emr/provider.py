"""EMR's operations: clusters, steps and tags. Fleets and policies have their own modules.

Each public method is the operation of that name in botocore.
"""

from localstack_emr_msk.calls import Caller, Request, Response
from localstack_emr_msk.emr.cluster import ENDED, Cluster, Ending
from localstack_emr_msk.emr.fleet_operations import FleetOperations
from localstack_emr_msk.emr.policy_operations import PolicyOperations
from localstack_emr_msk.emr.registry import Registry, page, step_of
from localstack_emr_msk.emr.releases import check_label, instance_types
from localstack_emr_msk.emr.requests import check_cluster, check_concurrency
from localstack_emr_msk.emr.steps import Step
from localstack_emr_msk.emr.views import description, summary
from localstack_emr_msk.errors import invalid_request, validation
from localstack_emr_msk.settings import Settings


class EmrProvider(FleetOperations, PolicyOperations):
    """The operations of EMR that are supported."""

    def __init__(self, settings: Settings) -> None:
        self.registry = Registry(settings)

    def stop(self) -> None:
        """Terminates all clusters."""
        self.registry.stop()

    # ---- clusters

    def run_job_flow(self, caller: Caller, request: Request) -> Response:
        """Creates a cluster."""
        check_cluster(request)
        security = request.get("SecurityConfiguration")
        if security and security not in self.registry.security(caller):
            raise invalid_request(f"Security configuration with name '{security}' does not exist.")
        cluster = self.registry.create(caller, dict(request))
        return {"JobFlowId": cluster.id, "ClusterArn": cluster.arn}

    def describe_cluster(self, caller: Caller, request: Request) -> Response:
        """Describes a cluster."""
        return {"Cluster": description(self.registry.described(caller, request["ClusterId"]))}

    def list_clusters(self, caller: Caller, request: Request) -> Response:
        """Lists clusters by state and creation time, newest first."""
        states = request.get("ClusterStates")
        after, before = request.get("CreatedAfter"), request.get("CreatedBefore")
        found = [
            summary(cluster)
            for cluster in self.registry.clusters(caller)
            if (not states or cluster.state in states)
            and (after is None or cluster.created > after)
            and (before is None or cluster.created < before)
        ]
        return page("Clusters", found, request)

    def modify_cluster(self, caller: Caller, request: Request) -> Response:
        """Changes the step concurrency."""
        cluster = self.registry.described(caller, request["ClusterId"])
        level = request.get("StepConcurrencyLevel")
        if level is not None:
            check_concurrency(level)
            with cluster.changed:
                cluster.check_modifiable()
                cluster.concurrency = level
                cluster.changed.notify_all()
        return {"StepConcurrencyLevel": cluster.concurrency}

    def terminate_job_flows(self, caller: Caller, request: Request) -> Response:
        """Terminates clusters; none if one of them is protected."""
        clusters = self._named(caller, request)
        if any(each.protected and each.state not in ENDED for each in clusters):
            raise validation(
                "Could not shut down one or more job flows since they are termination protected."
            )
        for cluster in clusters:
            cluster.end(Ending("USER_REQUEST", "Terminated by user request"))
        return {}

    def set_termination_protection(self, caller: Caller, request: Request) -> Response:
        """Sets whether clusters can be terminated."""
        for cluster in self._named(caller, request):
            cluster.check_modifiable()
            cluster.protected = bool(request["TerminationProtected"])
        return {}

    def set_unhealthy_node_replacement(self, caller: Caller, request: Request) -> Response:
        """Stores the setting, which has no effect here."""
        for cluster in self._named(caller, request):
            cluster.check_modifiable()
            cluster.replaces_unhealthy = bool(request["UnhealthyNodeReplacement"])
        return {}

    def set_keep_job_flow_alive_when_no_steps(self, caller: Caller, request: Request) -> Response:
        """Sets whether clusters stay when no step is left."""
        for cluster in self._named(caller, request):
            with cluster.changed:
                cluster.check_modifiable()
                cluster.keep_alive = bool(request["KeepJobFlowAliveWhenNoSteps"])
                cluster.changed.notify_all()
        return {}

    def set_visible_to_all_users(self, caller: Caller, request: Request) -> Response:
        """Stores the setting, which has no effect here."""
        for cluster in self._named(caller, request):
            cluster.visible = bool(request["VisibleToAllUsers"])
        return {}

    def list_bootstrap_actions(self, caller: Caller, request: Request) -> Response:
        """Lists the bootstrap actions of a cluster."""
        cluster = self.registry.described(caller, request["ClusterId"])
        found = [
            {
                "Name": each["Name"],
                "ScriptPath": each["ScriptBootstrapAction"]["Path"],
                "Args": each["ScriptBootstrapAction"].get("Args") or [],
            }
            for each in cluster.request.get("BootstrapActions") or []
        ]
        return page("BootstrapActions", found, request)

    def add_tags(self, caller: Caller, request: Request) -> Response:
        """Adds tags to a cluster; nothing else here has tags."""
        cluster = self.registry.described(caller, request["ResourceId"])
        cluster.tags |= {each["Key"]: each.get("Value", "") for each in request["Tags"]}
        return {}

    def remove_tags(self, caller: Caller, request: Request) -> Response:
        """Removes tags."""
        cluster = self.registry.described(caller, request["ResourceId"])
        for key in request["TagKeys"]:
            cluster.tags.pop(key, None)
        return {}

    # ---- steps

    def add_job_flow_steps(self, caller: Caller, request: Request) -> Response:
        """Adds steps to a cluster."""
        cluster = self.registry.changed(caller, request["JobFlowId"])
        steps = [Step(each, request.get("ExecutionRoleArn")) for each in request["Steps"]]
        cluster.add(steps)
        return {"StepIds": [each.id for each in steps]}

    def describe_step(self, caller: Caller, request: Request) -> Response:
        """Describes a step."""
        cluster = self.registry.described(caller, request["ClusterId"])
        with cluster.changed:
            return {"Step": step_of(cluster, request["StepId"]).view()}

    def list_steps(self, caller: Caller, request: Request) -> Response:
        """Lists steps by state or id, newest first."""
        cluster = self.registry.described(caller, request["ClusterId"])
        states, ids = request.get("StepStates"), request.get("StepIds")
        if states and ids:
            raise invalid_request("StepStates and StepIds cannot be given together.")
        with cluster.changed:
            found = [
                step.view()
                for step in reversed(cluster.steps)
                if (not states or step.state in states) and (not ids or step.id in ids)
            ]
        return page("Steps", found, request)

    def cancel_steps(self, caller: Caller, request: Request) -> Response:
        """Cancels steps that are pending or running."""
        cluster = self.registry.described(caller, request["ClusterId"])
        steps = [step_of(cluster, each) for each in request["StepIds"]]
        answers: list[Response] = []
        for step in steps:
            answer = {"StepId": step.id, "Status": "SUBMITTED", "Reason": ""}
            if not cluster.cancel(step):
                answer |= {"Status": "FAILED", "Reason": f"The step is {step.state}."}
            answers.append(answer)
        return {"CancelStepsInfoList": answers}

    # ---- releases

    def list_supported_instance_types(self, caller: Caller, request: Request) -> Response:
        """Lists the instance types of a release."""
        check_label(request.get("ReleaseLabel"))
        return page("SupportedInstanceTypes", list(instance_types()), request)

    def describe_release_label(self, caller: Caller, request: Request) -> Response:
        """Describes a release, as far as it is known here."""
        check_label(request.get("ReleaseLabel"))
        return {"ReleaseLabel": request["ReleaseLabel"], "Applications": [{"Name": "Spark"}]}

    def _named(self, caller: Caller, request: Request) -> list[Cluster]:
        return [self.registry.changed(caller, each) for each in request["JobFlowIds"]]
