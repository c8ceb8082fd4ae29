"""train.py svm|lda: learns from every table below /pfs/training, writes the model and what it is."""
import csv
import glob
import pickle
import sys

from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import cross_val_predict
from sklearn.svm import SVC

MODELS = {
    "svm": ("support vector machine", lambda: SVC(kernel="linear")),
    "lda": ("linear discriminant analysis", LinearDiscriminantAnalysis),
}
title, make = MODELS[sys.argv[1]]

rows = []
for path in sorted(glob.glob("/pfs/training/*.csv")):
    with open(path) as file:
        rows += [row for row in csv.reader(file) if row]
measures = [[float(value) for value in row[:4]] for row in rows]
species = [row[4] for row in rows]
names = sorted(set(species))

# How good it is on flowers that it has not seen, five times a fifth of the table.
guesses = cross_val_predict(make(), measures, species, cv=5)
right = sum(guess == name for guess, name in zip(guesses, species))
with open("/pfs/out/model.pkl", "wb") as file:
    pickle.dump(make().fit(measures, species), file)
with open("/pfs/out/model.txt", "w") as file:
    print("%s, %d flowers" % (title, len(rows)), file=file)
    print("right in cross-validation: %.1f %%" % (100 * right / len(rows)), file=file)
    for name, counts in zip(names, confusion_matrix(species, guesses, labels=names)):
        print("%-16s taken for %s" % (name, dict(zip(names, counts.tolist()))), file=file)
print("learned from %d flowers with a %s" % (len(rows), title))
