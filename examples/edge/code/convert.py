"""convert.py: the model for small devices: weights of one byte each, packed."""
import os

import numpy as np

source, target = "/pfs/Train/retrained_graph.npz", "/pfs/out/optimized_graph.lite"
small = {}
with np.load(source) as weights:
    for name, value in weights.items():
        scale = max(np.abs(value).max(), 1e-9) / 127
        small[name] = np.round(value / scale).astype(np.int8)
        small[name + "_scale"] = np.float32(scale)
with open(target, "wb") as file:
    np.savez_compressed(file, **small)
print("%d bytes became %d" % (os.path.getsize(source), os.path.getsize(target)))
