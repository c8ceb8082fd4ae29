"""montage.py: all pictures in a row, their edges below them, in one picture."""
import glob
import os

import cv2
import numpy as np

HEIGHT, GAP = 200, 8


def row(paths):
    cells = []
    for path in paths:
        picture = cv2.imread(path, cv2.IMREAD_COLOR)
        height, width = picture.shape[:2]
        picture = cv2.resize(picture, (width * HEIGHT // height, HEIGHT), interpolation=cv2.INTER_AREA)
        cells.append(cv2.copyMakeBorder(picture, GAP, GAP, GAP, GAP, cv2.BORDER_CONSTANT, value=(255, 255, 255)))
    return np.hstack(cells)


images = sorted(glob.glob("/pfs/images/*"))
edges = ["/pfs/edges/" + os.path.splitext(os.path.basename(path))[0] + ".png" for path in images]
cv2.imwrite("/pfs/out/montage.png", np.vstack([row(images), row(edges)]))
print("%d pictures" % len(images))
