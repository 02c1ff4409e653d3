"""Amazon EMR whose clusters are real: bootstrap actions and steps run as processes of this machine.

``provider`` holds the operations. ``cluster`` is the life of one cluster, in EMR's states, on a
``machine``, which is where processes run; ``spark`` brings up a master and a worker there, and
``submit`` turns a spark-submit meant for YARN into one for them.
"""
