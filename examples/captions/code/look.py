"""What a picture is to the model: its ground, what stands out from it, and the shape of that."""
import cv2
import numpy as np


def look(path):
    picture = cv2.imread(path)
    if picture is None:
        raise SystemExit(path + " is not a picture")
    picture = cv2.resize(cv2.GaussianBlur(picture, (3, 3), 0), (64, 64), interpolation=cv2.INTER_AREA)
    rim = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    ground = np.median(rim, axis=0)
    apart = np.linalg.norm(picture - ground, axis=2)
    mask = (apart > 60).astype(np.uint8)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outlines = [outline for outline in outlines if cv2.contourArea(outline) > 40] or list(outlines[:1])
    colour = np.median(picture[mask > 0], axis=0) if mask.any() else ground
    shapes = []
    for outline in outlines:
        area, around = cv2.contourArea(outline), cv2.arcLength(outline, True)
        (_, _), (wide, high), _ = cv2.minAreaRect(outline)
        shapes.append([4 * np.pi * area / max(around, 1) ** 2, area / max(wide * high, 1)])
    count = [1.0 if len(outlines) == number else 0.0 for number in (1, 2)]
    shape = 4 * (np.mean(shapes, axis=0) - 0.75) if shapes else np.zeros(2)
    return np.concatenate([ground / 128 - 1, colour / 128 - 1, count, shape])
