"""The GAN monitor: measures a few samples now and then during training and names what goes wrong."""
