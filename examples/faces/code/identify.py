"""identify.py: finds the faces of the datum's picture and names those that the model knows."""
import glob
import json
import os

import numpy as np

from faces import SAME, faces_in

with open("/pfs/model/faces.json") as file:
    people = json.load(file)
known = [(name, one["id"], np.array(one["face"])) for name, all in people.items() for one in all]

for path in glob.glob("/pfs/unidentified/*.jpg"):
    faces = []
    for (left, top, width, height), numbers in faces_in(path):
        face = {"rect": {"left": left, "top": top, "width": width, "height": height}, "matched": False}
        distance, name, picture = min((float(np.linalg.norm(numbers - one)), name, id) for name, id, one in known)
        if distance < SAME:
            face.update({"id": picture, "name": name, "matched": True, "distance": round(distance, 2)})
        faces.append(face)
    result = {"success": True, "facesCount": len(faces), "faces": faces}
    name = os.path.splitext(os.path.basename(path))[0]
    with open("/pfs/out/%s.json" % name, "w") as file:
        json.dump(result, file, indent=1)
        file.write("\n")
    print("%s: %s" % (name, ", ".join(face.get("name", "unknown") for face in faces)))
