"""The applications that configs name, by kind and arguments."""

__all__ = ["KINDS", "built"]

#: kind -> module of `research.mlmc` and function in it.
KINDS = {
    "put": ("options", "bermudan_put"),
    "linear": ("decisions", "linear_decision"),
    "health": ("health", "health_decision"),
    "forward": ("credit", "forward_adjustment"),
    "experiment": ("design", "linear_experiment"),
    "loss": ("risk", "loss_probability"),
}


def built(kind: str, arguments, dtype):
    """A problem with its exact value where there is one; arguments are those of the function of `KINDS`."""
    import importlib

    module, function = KINDS[kind]
    return getattr(importlib.import_module(f"research.mlmc.{module}"), function)(**dict(arguments), dtype=dtype)
