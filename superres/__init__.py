"""Upscaling of images with FSRCNN: the core that every other part imports."""

__version__ = "0.1.0"
