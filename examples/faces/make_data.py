"""make_data.py PORTRAITS DIR: the pictures of this example.

PORTRAITS is the folder tests/test_images of the source package face_recognition 1.3.0
(pip download --no-deps --no-binary :all: face-recognition==1.3.0). Needs scikit-image==0.26.0 too.
"""
import os
import sys

import cv2
import numpy as np
import skimage.data

portraits, out = sys.argv[1:]


def small(picture, height):
    width = picture.shape[1] * height // picture.shape[0]
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def write(name, picture):
    path = os.path.join(out, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    cv2.imwrite(path, picture, [cv2.IMWRITE_JPEG_QUALITY, 88])


obama, obama2, obama3, biden = (
    cv2.imread(os.path.join(portraits, name + ".jpg")) for name in ("obama", "obama2", "obama3", "biden")
)
collins = cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR)

write("train/faces1/obama1.jpg", small(obama, 420))
write("train/faces1/obama2.jpg", small(obama2, 420))
write("train/faces2/biden1.jpg", small(biden, 560))
# A third portrait, and a wall with two: one of them hung the wrong way round and faded.
write("unidentified/image1.jpg", small(obama3[:1500], 420))
faded = cv2.convertScaleAbs(cv2.flip(biden[:1500], 1), alpha=0.8, beta=30)
wall = np.full((460, 700, 3), (120, 140, 150), np.uint8)
for left, picture in ((30, small(faded, 400)), (330, small(collins, 340))):
    height, width = picture.shape[:2]
    top = (460 - height) // 2
    wall[top - 8 : top + height + 8, left - 8 : left + width + 8] = (40, 70, 100)
    wall[top : top + height, left : left + width] = picture
write("unidentified/image2.jpg", wall)

for name, colour in (("obama", (170, 90, 20)), ("biden", (40, 40, 180)), ("unknown", (90, 90, 90))):
    label = np.full((28, 110, 3), colour, np.uint8)
    cv2.putText(label, name, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 1, cv2.LINE_AA)
    write("labels/%s.jpg" % name, label)
