"""Many runs as one: points of a grid, jobs on many processes or machines, results kept by what they depend on."""
