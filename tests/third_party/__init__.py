"""Third-party code on Tensors: tables of functions, the harness that runs them, and what is expected of each."""
