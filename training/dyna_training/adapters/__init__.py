"""The adapters that come with the package: a policy and a world model for ALFWorld on SmolLM2-135M."""
