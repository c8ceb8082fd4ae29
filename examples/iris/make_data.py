"""make_data.py DIR: writes the tables of this example into DIR.

iris.csv       Fisher's iris table as scikit-learn ships it: four measures in cm and the species
test/1.csv     one flower to name, test/2.csv: six more; measures only
field.csv      60 more flowers, measured again; whoever named them took two species for each other
"""
import os
import sys

import numpy as np
from sklearn.datasets import load_iris

iris = load_iris()
out = sys.argv[1]
os.makedirs(os.path.join(out, "test"), exist_ok=True)


def rows(table):
    return [",".join("%.1f" % value for value in row) for row in table]


def write(name, lines):
    with open(os.path.join(out, name), "w") as file:
        file.writelines(line + "\n" for line in lines)


def labelled(table):
    names = ["Iris-" + iris.target_names[kind] for kind in iris.target]
    return [row + "," + name for row, name in zip(rows(table), names)]


write("iris.csv", labelled(iris.data))
write("test/1.csv", rows([iris.data[120]]))
write("test/2.csv", rows(iris.data[[0, 55, 77, 131, 110, 20]]))
field = np.array(iris.data[50:110] + np.random.default_rng(1936).normal(0, 0.1, (60, 4)))
swapped = ["Iris-virginica"] * 50 + ["Iris-versicolor"] * 10
write("field.csv", [row + "," + name for row, name in zip(rows(field), swapped)])
