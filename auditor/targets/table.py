"""Every built-in kind of target, one line each. Imports nothing heavy."""

from auditor.registry import Entry, Table

TABLE = Table(
    entries=(
        Entry("factory", "auditor.targets.loaders.factory:load", "the user's own build() and a file of weights"),
        Entry("safetensors", "auditor.targets.loaders.safetensors:load", "safetensors weights and a [model] table"),
        Entry("state_dict", "auditor.targets.loaders.state_dict:load", "a torch state dict and a [model] table"),
        Entry(
            "pickled_module",
            "auditor.targets.loaders.pickled_module:load",
            "a whole pickled module: refused, unless the command line says --trust-pickle",
        ),
    )
)
