"""train.py: learns from all captions and features together how to describe a picture."""
import glob
import os

import numpy as np

from words import END, START, forward, inputs, say

STEPS, HIDDEN = 400, 48
examples = []
for piece in sorted(glob.glob("/pfs/consolidate/*")):
    captions = [line.split("\t")[0].split() for line in open(piece + "/captions.tsv")]
    examples += list(zip(captions, np.load(piece + "/features.npy")))
vocabulary = [START, END] + sorted({word for caption, _ in examples for word in caption})
rows, wanted = [], []
for caption, picture in examples:
    words = [START, START] + caption + [END]
    for before, last, word in zip(words, words[1:], words[2:]):
        rows.append(inputs(vocabulary, picture, before, last))
        wanted.append(vocabulary.index(word))
rows, wanted = np.array(rows), np.eye(len(vocabulary))[wanted]

random = np.random.default_rng(3)
weights = {
    "w1": random.normal(0, 0.2, (rows.shape[1], HIDDEN)),
    "b1": np.zeros(HIDDEN),
    "w2": random.normal(0, 0.2, (HIDDEN, len(vocabulary))),
    "b2": np.zeros(len(vocabulary)),
}
speed = {name: np.zeros_like(value) for name, value in weights.items()}
for step in range(STEPS):
    hidden, guess = forward(weights, rows)
    wrong = (guess - wanted) / len(rows)
    back = wrong @ weights["w2"].T * (1 - hidden**2)
    slope = {"w1": rows.T @ back, "b1": back.sum(0), "w2": hidden.T @ wrong, "b2": wrong.sum(0)}
    for name in weights:
        speed[name] = 0.9 * speed[name] - 1.0 * slope[name]
        weights[name] = weights[name] + speed[name]
    if step % 100 == 99:
        print("step %d: loss %.3f" % (step + 1, -np.log((guess * wanted).sum(axis=1)).mean()), flush=True)
right = sum(say(weights, vocabulary, picture) == " ".join(caption) for caption, picture in examples)
print("%d of %d captions are said word for word" % (right, len(examples)))
os.mkdir("/pfs/out/saved")
np.savez("/pfs/out/saved/saved_model.npz", vocabulary=vocabulary, **weights)
