"""make_data.py DIR: draws 100 pictures, describes them in test.tsv, and draws one more to try: image.png.

A line of test.tsv is a caption, a tab, and where the picture is on the example's HTTP server.
Needs numpy and OpenCV: pip install numpy opencv-contrib-python-headless
"""
import os
import sys

import cv2
import numpy as np

SIZE, FINE = 64, 4
COLOURS = {
    "red": (40, 40, 210),
    "green": (60, 170, 50),
    "blue": (200, 80, 40),
    "yellow": (60, 210, 240),
    "black": (25, 25, 25),
    "white": (240, 240, 240),
}
SHAPES = ["circle", "square", "triangle"]
GROUNDS = ["blue", "black", "white"]
random = np.random.default_rng(11)


def draw(count, colour, shape, ground):
    size = SIZE * FINE
    picture = np.full((size, size, 3), COLOURS[ground], np.uint8)
    for at in range(count):
        radius = size * (random.uniform(0.16, 0.2) if count == 2 else random.uniform(0.2, 0.34))
        across = size * (0.5 if count == 1 else (0.26, 0.74)[at])
        x, y = across + random.normal(0, size * 0.02), size / 2 + random.normal(0, size * 0.06)
        turn = random.uniform(-0.15, 0.15)
        corners = {"circle": 40, "square": 4, "triangle": 3}[shape]
        angles = turn + np.pi / (4 if shape == "square" else -2) + np.arange(corners) * 2 * np.pi / corners
        points = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1)
        cv2.fillPoly(picture, [points.astype(np.int32)], COLOURS[colour], cv2.LINE_AA)
    picture = cv2.resize(picture, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return (picture * random.uniform(0.9, 1.05) + random.normal(0, 6, picture.shape)).clip(0, 255).astype(np.uint8)


def caption(count, colour, shape, ground):
    number, plural = ("a", "") if count == 1 else ("two", "s")
    return "%s %s %s%s on a %s background" % (number, colour, shape, plural, ground)


out = sys.argv[1]
os.makedirs(os.path.join(out, "pictures"), exist_ok=True)
TRIED = (2, "yellow", "triangle", "blue")
lines = []
while len(lines) < 100:
    what = (
        int(random.integers(1, 3)),
        ["red", "green", "yellow", "white"][random.integers(4)],
        SHAPES[random.integers(3)],
        GROUNDS[random.integers(3)],
    )
    # No colour on itself, and nothing like the picture to try.
    if what[1] == what[3] or what == TRIED:
        continue
    name = "%03d.jpg" % len(lines)
    cv2.imwrite(os.path.join(out, "pictures", name), draw(*what), [cv2.IMWRITE_JPEG_QUALITY, 90])
    lines.append("%s\thttp://localhost:8765/%s\n" % (caption(*what), name))
with open(os.path.join(out, "test.tsv"), "w") as file:
    file.writelines(lines)
cv2.imwrite(os.path.join(out, "image.png"), draw(*TRIED))
