"""classify.py MODEL LABELS PICTURE …: what a small device does with the compact model."""
import os
import sys

import numpy as np

from flowers import features, scores

model, names, *pictures = sys.argv[1:]
with np.load(model) as small:
    weights = {name: small[name] * small[name + "_scale"] for name in ("w1", "b1", "w2", "b2")}
labels = open(names).read().split()
for path in pictures:
    chances = scores(weights, features(path)[None])[1][0]
    best = chances.argmax()
    print("%-15s %s (%.0f %%)" % (os.path.basename(path), labels[best], 100 * chances[best]))
