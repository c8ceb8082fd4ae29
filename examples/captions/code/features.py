"""features.py: for each folder of pictures of the datum, a file of numbers, a row for each picture."""
import glob
import os

import numpy as np

from look import look

for folder in glob.glob("/pfs/images/*"):
    pictures = sorted(glob.glob(folder + "/*"))
    target = os.path.join("/pfs/out", os.path.basename(folder))
    os.mkdir(target)
    np.save(os.path.join(target, "features.npy"), np.array([look(path) for path in pictures]))
    print("%s: %d pictures" % (os.path.basename(folder), len(pictures)))
