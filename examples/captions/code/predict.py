"""predict.py: describes the datum's picture with the datum's model."""
import glob
import os

import numpy as np

from look import look
from words import say

with np.load("/pfs/model/saved/saved_model.npz") as saved:
    vocabulary = [str(word) for word in saved["vocabulary"]]
    weights = {name: saved[name] for name in ("w1", "b1", "w2", "b2")}
for path in glob.glob("/pfs/inpredict/*"):
    caption = say(weights, vocabulary, look(path))
    with open("/pfs/out/%s.txt" % os.path.basename(path), "w") as file:
        file.write(caption + "\n")
    print("%s: %s" % (os.path.basename(path), caption))
