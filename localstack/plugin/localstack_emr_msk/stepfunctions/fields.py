"""The fields that Step Functions accepts in createCluster.

AWS documents only that they are those of RunJobFlow
(https://docs.aws.amazon.com/step-functions/latest/dg/connect-emr.html), but Step Functions has a
schema of its own and rejects other fields when a state machine is created. These are the fields
that AWS's CDK writes: ``emr-create-cluster.ts`` and ``cluster-utils.ts`` in
``packages/aws-cdk-lib/aws-stepfunctions-tasks/lib/emr`` of https://github.com/aws/aws-cdk.

The error is in https://github.com/aws/aws-cdk/issues/17452; that
ManagedScalingPolicy.ScalingStrategy is rejected, in https://github.com/aws/aws-cdk/pull/34677.
"""

from collections.abc import Iterator, Mapping
from typing import Any

_ANY: Mapping[str, Any] | None = None  # below it, fields are not checked
_Schema = Mapping[str, Any]


def _fields(text: str, **nested: _Schema) -> _Schema:
    return dict.fromkeys(text.split(), _ANY) | nested


_VOLUMES = _fields(
    "EbsOptimized",
    EbsBlockDeviceConfigs=_fields(
        "VolumesPerInstance", VolumeSpecification=_fields("Iops SizeInGB VolumeType")
    ),
)
_CONFIGURATION = _fields("Classification Properties Configurations")
_FLEETS = _fields(
    "InstanceFleetType Name TargetOnDemandCapacity TargetSpotCapacity",
    InstanceTypeConfigs=_fields(
        "BidPrice BidPriceAsPercentageOfOnDemandPrice InstanceType WeightedCapacity",
        Configurations=_CONFIGURATION,
        EbsConfiguration=_VOLUMES,
    ),
    LaunchSpecifications=_fields(
        "",
        OnDemandSpecification=_fields("AllocationStrategy CapacityReservationOptions"),
        SpotSpecification=_fields(
            "AllocationStrategy BlockDurationMinutes TimeoutAction TimeoutDurationMinutes"
        ),
    ),
)
_GROUPS = _fields(
    "AutoScalingPolicy BidPrice InstanceCount InstanceRole InstanceType Market Name",
    Configurations=_CONFIGURATION,
    EbsConfiguration=_VOLUMES,
)
CREATE_CLUSTER = _fields(
    "AdditionalInfo AutoScalingRole CustomAmiId EbsRootVolumeIops EbsRootVolumeSize "
    "EbsRootVolumeThroughput JobFlowRole KerberosAttributes LogUri Name ReleaseLabel "
    "ScaleDownBehavior SecurityConfiguration ServiceRole StepConcurrencyLevel VisibleToAllUsers",
    Applications=_fields("AdditionalInfo Args Name Version"),
    AutoTerminationPolicy=_fields("IdleTimeout"),
    BootstrapActions=_fields("Name", ScriptBootstrapAction=_fields("Args Path")),
    Configurations=_CONFIGURATION,
    Instances=_fields(
        "AdditionalMasterSecurityGroups AdditionalSlaveSecurityGroups Ec2KeyName Ec2SubnetId "
        "Ec2SubnetIds EmrManagedMasterSecurityGroup EmrManagedSlaveSecurityGroup HadoopVersion "
        "InstanceCount KeepJobFlowAliveWhenNoSteps MasterInstanceType Placement "
        "ServiceAccessSecurityGroup SlaveInstanceType TerminationProtected",
        InstanceFleets=_FLEETS,
        InstanceGroups=_GROUPS,
    ),
    ManagedScalingPolicy=_fields(
        "",
        ComputeLimits=_fields(
            "MaximumCapacityUnits MaximumCoreCapacityUnits MaximumOnDemandCapacityUnits "
            "MinimumCapacityUnits UnitType"
        ),
    ),
    Tags=_fields("Key Value"),
)


def unsupported_fields(given: object, schema: _Schema | None) -> Iterator[str]:
    """Yields the fields, at any depth, that the schema does not have."""
    if schema is None:
        return
    if isinstance(given, list):
        for each in given:
            yield from unsupported_fields(each, schema)
    elif isinstance(given, Mapping):
        for name, value in given.items():
            if name in schema:
                yield from unsupported_fields(value, schema[name])
            else:
                yield name
