"""What experiments share: flags, configs, meshes, run directories, checkpoints, the loop over chunks."""
