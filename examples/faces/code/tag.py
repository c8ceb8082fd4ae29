"""tag.py: draws a box around each face, and below it the label picture of its name."""
import glob
import json
import os

import cv2

for path in glob.glob("/pfs/unidentified/*.jpg"):
    picture = cv2.imread(path)
    name = os.path.splitext(os.path.basename(path))[0]
    with open("/pfs/identify/%s.json" % name) as file:
        faces = json.load(file)["faces"]
    for face in faces:
        left, top, width, height = (face["rect"][key] for key in ("left", "top", "width", "height"))
        label = cv2.imread("/pfs/labels/%s.jpg" % face.get("name", "unknown"))
        colour = tuple(int(value) for value in label[0, 0])
        cv2.rectangle(picture, (left, top), (left + width, top + height), colour, 2)
        # Below the face, and within the picture.
        high, wide = label.shape[:2]
        x = max(0, min(left + (width - wide) // 2, picture.shape[1] - wide))
        y = max(0, min(top + height + 3, picture.shape[0] - high))
        picture[y : y + high, x : x + wide] = label
    cv2.imwrite("/pfs/out/tagged_%s.jpg" % name, picture)
    print("%s: %d faces" % (name, len(faces)))
