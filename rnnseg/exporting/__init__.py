"""Export of a trained model to files for serving and for devices, each of which is checked."""
