"""How close a result is to the original: PSNR, SSIM, and pages to compare by eye."""
