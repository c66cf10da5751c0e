"""Running several of dtms's programs together."""
