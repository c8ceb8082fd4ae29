"""edges.py: for every picture of the datum, a picture of its edges."""
import os

import cv2

for folder, _, files in os.walk("/pfs/images"):
    for name in files:
        picture = cv2.imread(os.path.join(folder, name), cv2.IMREAD_GRAYSCALE)
        if picture is None:
            raise SystemExit(name + " is not a picture")
        edges = cv2.Canny(cv2.GaussianBlur(picture, (5, 5), 0), 60, 140)
        cv2.imwrite("/pfs/out/" + os.path.splitext(name)[0] + ".png", edges)
        print("%s: %d of %d points are on an edge" % (name, (edges > 0).sum(), edges.size))
