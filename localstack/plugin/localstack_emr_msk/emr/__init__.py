"""Amazon EMR with real clusters: bootstrap actions and steps run as processes on this machine.

``provider`` has the operations. ``cluster`` is the lifecycle of a cluster, in EMR's states, on a
``machine``, where its processes run; ``spark`` starts a master and a worker there, and ``submit``
adapts a spark-submit for YARN to them.
"""
