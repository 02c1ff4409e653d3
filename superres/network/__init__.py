"""FSRCNN: weights, engines that run it, and tiling, so that memory does not grow with the image."""
