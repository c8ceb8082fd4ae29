"""train.py: learns the names of the folders below /pfs/flower_photos; each holds pictures of a kind.

Writes the model (retrained_graph.npz), its labels, and for TensorBoard how loss and accuracy went.
"""
import glob
import os
import time

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from flowers import features, scores

SOURCE, STEPS, HIDDEN = "/pfs/flower_photos", 150, 24
labels = sorted(name for name in os.listdir(SOURCE) if os.path.isdir(os.path.join(SOURCE, name)))
inputs, wanted = [], []
for number, label in enumerate(labels):
    for path in sorted(glob.glob("%s/%s/*.jpg" % (SOURCE, label))):
        inputs.append(features(path))
        wanted.append(number)
inputs, wanted = np.array(inputs), np.eye(len(labels))[wanted]
random = np.random.default_rng(7)
weights = {
    "w1": random.normal(0, 0.1, (inputs.shape[1], HIDDEN)),
    "b1": np.zeros(HIDDEN),
    "w2": random.normal(0, 0.1, (HIDDEN, len(labels))),
    "b2": np.zeros(len(labels)),
}
# A fifth of the pictures is kept back to see how it does on what it has not seen.
order = random.permutation(len(inputs))
unseen, seen = order[: len(order) // 5], order[len(order) // 5 :]
speed = {name: np.zeros_like(value) for name, value in weights.items()}
board = EventFileWriter("/pfs/out/logs")


def tell(step, **values):
    points = [Summary.Value(tag=tag, simple_value=float(value)) for tag, value in values.items()]
    board.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=points)))


def share_right(rows):
    return (scores(weights, inputs[rows])[1].argmax(axis=1) == wanted[rows].argmax(axis=1)).mean()


for step in range(STEPS):
    hidden, guess = scores(weights, inputs[seen])
    wrong = (guess - wanted[seen]) / len(seen)
    back = wrong @ weights["w2"].T * (1 - hidden**2)
    slope = {"w1": inputs[seen].T @ back, "b1": back.sum(0), "w2": hidden.T @ wrong, "b2": wrong.sum(0)}
    for name in weights:
        speed[name] = 0.9 * speed[name] - 0.3 * slope[name]
        weights[name] = weights[name] + speed[name]
    loss = -np.log((guess * wanted[seen]).sum(axis=1)).mean()
    tell(step, loss=loss, accuracy=share_right(unseen))
board.close()

np.savez("/pfs/out/retrained_graph.npz", **weights)
with open("/pfs/out/retrained_labels.txt", "w") as file:
    file.writelines(label + "\n" for label in labels)
print("%d pictures, %s: %.0f %% right on unseen ones" % (len(inputs), ", ".join(labels), 100 * share_right(unseen)))
