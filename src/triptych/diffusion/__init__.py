"""Mathematics of Gaussian diffusion and flow matching, without networks."""
