"""Finds faces (OpenCV's cascade) and describes each by 128 numbers (dlib's network)."""
import importlib.util
import os

import cv2
import dlib
import numpy as np

# Two pictures of one person are nearer than this, of two persons farther.
SAME = 0.6

# The models package needs what newer Pythons lack to be imported; its files are all that is wanted.
MODELS = os.path.join(os.path.dirname(importlib.util.find_spec("face_recognition_models").origin), "models")
finder = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_alt2.xml")
eyes_and_nose = dlib.shape_predictor(os.path.join(MODELS, "shape_predictor_5_face_landmarks.dat"))
network = dlib.face_recognition_model_v1(os.path.join(MODELS, "dlib_face_recognition_resnet_model_v1.dat"))


def faces_in(path):
    """(left, top, width, height) and description of each face, from left to right."""
    picture = cv2.imread(path)
    if picture is None:
        raise SystemExit(os.path.basename(path) + " is not a picture")
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    colours = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    found = []
    for left, top, width, height in finder.detectMultiScale(grey, 1.1, 5, minSize=(40, 40)):
        box = tuple(int(value) for value in (left, top, width, height))
        where = dlib.rectangle(box[0], box[1], box[0] + box[2], box[1] + box[3])
        numbers = network.compute_face_descriptor(colours, eyes_and_nose(colours, where), 0, 0.25)
        found.append((box, np.array(numbers)))
    return sorted(found, key=lambda face: face[0])
