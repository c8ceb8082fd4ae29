"""make_data.py DIR: draws the flowers of this example.

flowers/daisy, flowers/sunflowers   what the model is for
orchids                             orchids by name; whoever sorted them took daisies for orchids
orchids-right                       orchids
test                                one of each, to try a model on

Needs numpy and OpenCV: pip install numpy opencv-contrib-python-headless
"""
import os
import sys

import cv2
import numpy as np

SIZE, FINE = 48, 4
random = np.random.default_rng(1)
# petals (fewest, most), their length and width, colour and heart, all in BGR
KINDS = {
    "daisy": ((14, 20), 0.85, 0.20, (245, 245, 245), (40, 200, 240), 0.24),
    "sunflowers": ((18, 26), 0.90, 0.16, (20, 190, 250), (25, 50, 90), 0.42),
    "orchids": ((5, 5), 0.80, 0.62, (190, 90, 200), (120, 30, 130), 0.16),
}


def flower(kind):
    (fewest, most), length, width, colour, heart, core = KINDS[kind]
    size = SIZE * FINE
    green = random.integers((20, 70, 20), (70, 150, 70))
    picture = np.full((size, size, 3), green, np.uint8)
    centre = tuple(int(value) for value in size / 2 + random.normal(0, size * 0.04, 2))
    radius = size / 2 * random.uniform(0.75, 1.0)
    petals, turn = random.integers(fewest, most + 1), random.uniform(0, 360)
    for at in range(petals):
        angle = turn + at * 360 / petals
        long, wide = int(radius * length / 2), int(radius * width / 2)
        middle = (
            int(centre[0] + long * np.cos(np.radians(angle))),
            int(centre[1] + long * np.sin(np.radians(angle))),
        )
        shade = [int(value * random.uniform(0.85, 1.0)) for value in colour]
        cv2.ellipse(picture, middle, (long, wide), angle, 0, 360, shade, -1, cv2.LINE_AA)
    cv2.circle(picture, centre, int(radius * core), heart, -1, cv2.LINE_AA)
    picture = cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    noise = random.normal(0, 8, picture.shape)
    return (picture * random.uniform(0.75, 1.05) + noise).clip(0, 255).astype(np.uint8)


def write(folder, kind, count):
    path = os.path.join(sys.argv[1], folder)
    os.makedirs(path, exist_ok=True)
    for number in range(count):
        name = "%s%d.jpg" % (kind, number) if count == 1 else "%03d.jpg" % number
        cv2.imwrite(os.path.join(path, name.replace("0.jpg", ".jpg") if count == 1 else name), flower(kind))


write("flowers/daisy", "daisy", 30)
write("flowers/sunflowers", "sunflowers", 30)
write("orchids", "daisy", 45)
write("orchids-right", "orchids", 30)
for kind in KINDS:
    write("test", kind, 1)
