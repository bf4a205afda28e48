"""Writes the pictures of this folder's tests with Pillow: python make_images.py

The pixels that src/data/photo.rs expects are those of `Image.open(FILE).convert("RGB")`.
"""

import os

import numpy as np
from PIL import Image

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "images"))


def picture(width, height):
    y, x = np.mgrid[0:height, 0:width]
    planes = [(x * 5 + y * 3) % 256, (x * y) // 7 % 256, 255 - (x * 2 + y * 7) % 256]
    return np.stack(planes, -1).astype(np.uint8)


cmyk = [np.full((16, 16), value, np.uint8) for value in (200, 40, 90, 30)]
Image.fromarray(np.stack(cmyk, -1), "CMYK").save("cmyk.jpg", quality=95)
exif = Image.Exif()
exif[0x0112] = 6  # Orientation: to be turned by a quarter.
Image.fromarray(picture(12, 20)).save("exif.jpg", exif=exif, quality=90)
Image.fromarray(picture(8, 8)[:, :, 0], "L").save("grey.png")
Image.fromarray(np.dstack([picture(8, 8), np.full((8, 8), 7, np.uint8)]), "RGBA").save("rgba.png")
Image.fromarray(picture(8, 8)).convert("P").save("pal.png")
