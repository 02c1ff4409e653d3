"""FSRCNN: its weights, engines that run it, and tiling, which bounds the memory it needs."""
