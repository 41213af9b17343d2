r"""
# What `--help` says

A line for each setting, in the groups of [their source][labml_ws.experiment.config.Config]: the option, the first clause of its reason, what may be chosen, and
the default.
"""

import inspect
import re
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from labml_ws.experiment.config import Config


class Setting(NamedTuple):
    """Its group, its name, and the comment above it."""

    group: str
    name: str
    reason: str


def commented() -> Iterator[Setting]:
    """
    ## From the source

    Returns all settings in their order. A group begins with a comment of bold words, which stands for itself.
    """
    group, comment = "", list[str]()
    for line in map(str.strip, inspect.getsource(Config).splitlines()):
        if title := re.fullmatch(r"# \*\*(.+)\*\*", line):
            group = title[1]
        elif line.startswith("# "):
            comment.append(line[2:])
        else:
            if (field := re.match(r"(\w+): .+ = ", line)) and comment:
                yield Setting(group, field[1], " ".join(comment))
            comment = []


def first(reason: str) -> str:
    """The first clause: up to a full stop, a colon or a parenthesis."""
    return re.split(r"[.:;](?: |$)| \(", reason)[0].replace("`", "")


def line(setting: Setting) -> str:
    """
    ## A line

    * returns for instance `--norm CHOICE  Normalization after each convolution: bcn, bn, gn, ln, none [bcn]`
    """
    kind = get_type_hints(Config)[setting.name]
    default: Any = Config.__dataclass_fields__[setting.name].default
    option, text = setting.name.replace("_", "-"), first(setting.reason)
    if kind is bool:
        option, default = f"[no-]{option}", "yes" if default else "no"
    elif get_origin(kind) is Literal:
        text += f": {', '.join(get_args(kind))}"
    else:
        kinds = {int: " N", float: " X", str: " TEXT", int | Literal["auto"]: " N"}
        option += kinds.get(kind, " FOLDER")
    shown = f" [{default}]" if default not in (None, "") else ""
    return f"  --{option:<20} {text}{shown}"


def usage(program: str, description: str) -> str:
    """
    ## All of it

    * `program`, `description`: what stands above the options
    """
    lines = [f"usage: {program} [OPTIONS]", "", description]
    group = ""
    for setting in commented():
        if setting.group != group:
            lines += ["", f"{setting.group}:"]
        group = setting.group
        lines.append(line(setting))
    return "\n".join(lines)


if __name__ == "__main__":
    # ## See it work
    #
    # How many settings there are, and a line of three of them.
    settings = [*commented()]
    print(f"{len(settings)} settings in {len({setting.group for setting in settings})} groups")
    for setting in settings:
        if setting.name in ("norm", "learning_rate", "resume"):
            print(line(setting))
