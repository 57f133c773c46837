"""From a folder of photos to an image set: scan, split, decode. Import what you need from the modules."""
