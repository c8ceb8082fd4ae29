"""The model: from a picture's numbers and the two words before, the next word."""
import numpy as np

START, END = "<start>", "<end>"


def inputs(vocabulary, picture, before, last):
    words = np.zeros(2 * len(vocabulary))
    words[vocabulary.index(before)] = 1
    words[len(vocabulary) + vocabulary.index(last)] = 1
    return np.concatenate([picture, words])


def forward(weights, rows):
    hidden = np.tanh(rows @ weights["w1"] + weights["b1"])
    raw = hidden @ weights["w2"] + weights["b2"]
    powers = np.exp(raw - raw.max(axis=1, keepdims=True))
    return hidden, powers / powers.sum(axis=1, keepdims=True)


def say(weights, vocabulary, picture):
    words = [START, START]
    while words[-1] != END and len(words) < 20:
        row = inputs(vocabulary, picture, words[-2], words[-1])
        words.append(vocabulary[int(forward(weights, row[None])[1][0].argmax())])
    return " ".join(words[2:-1])
