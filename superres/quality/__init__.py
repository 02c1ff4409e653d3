"""How close a result is to the original: PSNR and SSIM, and comparisons by eye."""
