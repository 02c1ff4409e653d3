"""Clusters in EMR's responses."""

from localstack_emr_msk.calls import Response, present
from localstack_emr_msk.emr.cluster import Cluster
from localstack_emr_msk.emr.releases import application_version


def status(cluster: Cluster) -> Response:
    """Returns the status of a cluster."""
    timeline = {
        "CreationDateTime": cluster.created,
        "ReadyDateTime": cluster.ready,
        "EndDateTime": cluster.ended,
    }
    reason = present({"Code": cluster.code or None, "Message": cluster.message or None})
    return {
        "State": cluster.state,
        "StateChangeReason": reason,
        "Timeline": present(timeline),
    }


def summary(cluster: Cluster) -> Response:
    """Returns an entry of ListClusters."""
    return {
        "Id": cluster.id,
        "Name": cluster.request["Name"],
        "ClusterArn": cluster.arn,
        "Status": status(cluster),
        "NormalizedInstanceHours": 0,
    }


def description(cluster: Cluster) -> Response:
    """Returns the response of DescribeCluster."""
    request = cluster.request
    label = request["ReleaseLabel"]
    # EMR returns it with another scheme.
    log_uri = (request.get("LogUri") or "").replace("s3://", "s3n://", 1) or None
    return present(
        {
            **summary(cluster),
            "Ec2InstanceAttributes": _attributes(cluster),
            "InstanceCollectionType": (
                "INSTANCE_FLEET" if cluster.fleets[0].fleets else "INSTANCE_GROUP"
            ),
            "LogUri": log_uri,
            "LogEncryptionKmsKeyId": request.get("LogEncryptionKmsKeyId"),
            "ReleaseLabel": label,
            "OSReleaseLabel": request.get("OSReleaseLabel"),
            "AutoTerminate": not cluster.keep_alive,
            "TerminationProtected": cluster.protected,
            "UnhealthyNodeReplacement": cluster.replaces_unhealthy,
            "VisibleToAllUsers": cluster.visible,
            "Applications": [
                {
                    "Name": each["Name"],
                    "Version": each.get("Version") or application_version(label, each["Name"]),
                }
                for each in request.get("Applications") or []
            ],
            "Tags": [{"Key": key, "Value": value} for key, value in cluster.tags.items()],
            "ServiceRole": request.get("ServiceRole"),
            "MasterPublicDnsName": "localhost",
            "Configurations": request.get("Configurations") or [],
            "SecurityConfiguration": request.get("SecurityConfiguration"),
            "AutoScalingRole": request.get("AutoScalingRole"),
            "ScaleDownBehavior": request.get("ScaleDownBehavior") or "TERMINATE_AT_TASK_COMPLETION",
            "CustomAmiId": request.get("CustomAmiId"),
            "EbsRootVolumeSize": request.get("EbsRootVolumeSize"),
            "EbsRootVolumeIops": request.get("EbsRootVolumeIops"),
            "EbsRootVolumeThroughput": request.get("EbsRootVolumeThroughput"),
            "RepoUpgradeOnBoot": request.get("RepoUpgradeOnBoot"),
            "StepConcurrencyLevel": cluster.concurrency,
            "KerberosAttributes": request.get("KerberosAttributes"),
            "PlacementGroups": request.get("PlacementGroupConfigs") or [],
        }
    )


def _attributes(cluster: Cluster) -> Response:
    instances = cluster.request["Instances"]
    subnets = list(instances.get("Ec2SubnetIds") or [])
    subnet = instances.get("Ec2SubnetId") or next(iter(subnets), None)
    zone = (instances.get("Placement") or {}).get("AvailabilityZone")
    same = (
        "Ec2KeyName",
        "EmrManagedMasterSecurityGroup",
        "EmrManagedSlaveSecurityGroup",
        "ServiceAccessSecurityGroup",
    )
    return present(
        {
            "Ec2SubnetId": subnet,
            "RequestedEc2SubnetIds": subnets or ([subnet] if subnet else []),
            "RequestedEc2AvailabilityZones": [],
            "Ec2AvailabilityZone": zone or f"{cluster.caller.region}a",
            "IamInstanceProfile": cluster.request.get("JobFlowRole"),
            **{key: instances.get(key) for key in same},
            "AdditionalMasterSecurityGroups": instances.get("AdditionalMasterSecurityGroups") or [],
            "AdditionalSlaveSecurityGroups": instances.get("AdditionalSlaveSecurityGroups") or [],
        }
    )
