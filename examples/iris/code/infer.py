"""infer.py: names the flowers of the datum's one file of measures with the datum's model."""
import csv
import glob
import os
import pickle

with open("/pfs/model/model.pkl", "rb") as file:
    model = pickle.load(file)
for path in glob.glob("/pfs/attributes/*.csv"):
    with open(path) as file:
        measures = [[float(value) for value in row] for row in csv.reader(file) if row]
    name = os.path.splitext(os.path.basename(path))[0]
    with open("/pfs/out/" + name, "w") as file:
        file.writelines(species + "\n" for species in model.predict(measures))
    print("%s: %d flowers" % (name, len(measures)))
