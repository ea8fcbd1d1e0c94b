"""Data sets: a name -> images in memory or on disk, in up to three parts, and batches of them.

    load(name, ...)   loading    a registered name, a folder, a CSV file -> ImageSet
    ImageSet          sets       classes, parts, counts, statistics
    Split, Files      sets       samples in memory, samples on disk; together Samples
    fingerprint(...)  sets       what tells samples from others
    split(...)        sets       three parts of images in memory: what authors of data sets use
    Batches           batches    what a loop iterates: any epoch, from any batch on
    augment           augment    each image of a batch changed at random
    Geometry          pictures   how a picture file becomes a tensor; decode, fit; find in walking

    digits, named                the sets that have names
    folders, listing, findings   folders and CSV files; what is odd about them
    workers, memory              processes that decode; what fits

Everything lives as uint8 (N, C, H, W) and becomes normalised numbers batch by batch.
"""

from __future__ import annotations

from ptools.data.batches import Batches
from ptools.data.loading import load
from ptools.data.pictures import Geometry, PictureError
from ptools.data.sets import Files, ImageSet, Samples, Split, fingerprint, split

__all__ = [
    "Batches",
    "Files",
    "Geometry",
    "ImageSet",
    "PictureError",
    "Samples",
    "Split",
    "fingerprint",
    "load",
    "split",
]
