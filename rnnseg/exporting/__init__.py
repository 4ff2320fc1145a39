"""From a trained segmenter to files for serving and for devices, each of them checked."""
