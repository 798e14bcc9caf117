"""One file per kind of target: each turns `[target]` and `[model]` into a model with its weights in."""
