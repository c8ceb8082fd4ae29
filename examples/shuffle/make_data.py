"""make_data.py DIR: draws three fruits as PNG and writes a price list for each.

Needs numpy and OpenCV: pip install numpy opencv-contrib-python-headless
"""
import json
import os
import sys

import cv2
import numpy as np

FRUITS = {"lime": ((60, 190, 120), 0.35), "orange": ((20, 140, 250), 0.80), "plum": ((110, 40, 120), 0.25)}
SIZE = 160
random = np.random.default_rng(5)
y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
inside = x**2 + y**2 < 0.8
shade = np.clip(1.0 - 0.7 * ((x + 0.35) ** 2 + (y + 0.35) ** 2), 0.15, 1)
for name, (colour, price) in FRUITS.items():
    skin = shade[..., None] * np.array(colour) + random.normal(0, 6, (SIZE, SIZE, 3))
    picture = np.where(inside[..., None], skin, 255).clip(0, 255).astype(np.uint8)
    cv2.imwrite(os.path.join(sys.argv[1], "pictures", name + ".png"), picture)
    with open(os.path.join(sys.argv[1], "prices", name + ".json"), "w") as file:
        json.dump({"name": name, "cost": price, "currency": "EUR"}, file)
        file.write("\n")
