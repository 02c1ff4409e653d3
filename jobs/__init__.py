"""The Spark jobs: split, infer, reconstruct, evaluate, and what chains them on one machine."""
