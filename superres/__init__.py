"""Super-resolution of photographs with FSRCNN: the core that every other part stands on."""

__version__ = "0.1.0"
