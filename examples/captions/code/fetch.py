"""fetch.py: gets the picture of every line of the datum's piece of the table."""
import os
import urllib.request

piece = os.environ["rawdata"]
folder = os.path.join("/pfs/out", os.path.basename(piece))
os.mkdir(folder)
with open(piece) as file:
    for line in file:
        caption, url = line.rstrip("\n").split("\t")
        name = os.path.basename(url)
        urllib.request.urlretrieve(url, os.path.join(folder, name))
        print("%s is %s" % (name, caption))
