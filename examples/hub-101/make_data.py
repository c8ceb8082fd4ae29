"""make_data.py DIR: small copies of three pictures that scikit-image 0.26.0 ships, as JPEG.

Needs more than the example itself: pip install scikit-image==0.26.0 opencv-contrib-python-headless
"""
import os
import sys

import cv2
import skimage.data

PICTURES = {
    "astronaut": skimage.data.astronaut(),
    "coffee": skimage.data.coffee(),
    "galaxies": skimage.data.hubble_deep_field(),
}
for name, rgb in PICTURES.items():
    height, width = rgb.shape[:2]
    small = cv2.resize(rgb, (320, 320 * height // width), interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    cv2.imwrite(os.path.join(sys.argv[1], name + ".jpg"), bgr, [cv2.IMWRITE_JPEG_QUALITY, 88])
