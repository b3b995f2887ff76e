"""``--config``, and commands whose options can also be given in that file or in the environment."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ..errors import ConfigError, did_you_mean, kind_of
from ..hub.config_file import ConfigFile, is_section
from .parameters import EXISTING_FILE
from .variables import OTHERS

FILE = "hookbot.config_file"
"""Key of the `ConfigFile` in `click.Context.meta`."""
ARGUMENTS = "hookbot.arguments"
"""Key of the command's arguments in `click.Context.meta`; a reload parses them again."""


class ConfiguredCommand(click.Command):
    """Command whose options can also be given in the environment and in a file; the environment overrides the file.

    The variable for ``--keep-bytes`` is ``HOOKBOT_KEEP_BYTES``, and so on.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take click's arguments, and give a variable to each option that has none."""
        super().__init__(*args, **kwargs)
        for name, option in self.named_options().items():
            option.envvar = option.envvar or f"HOOKBOT_{name.replace('-', '_').upper()}"

    def named_options(self) -> Mapping[str, click.Option]:
        """Options that a file may contain, by their names without the leading dashes."""
        return {
            opt.removeprefix("--"): option
            for option in self.params
            if isinstance(option, click.Option) and option.name != "config"
            for opt in option.opts
            if opt.startswith("--")
        }

    def variables(self) -> Mapping[str, str]:
        """Variables of these options, by the same names."""
        return {name: str(option.envvar) for name, option in self.named_options().items()}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, as click does, and keep them for a reload."""
        ctx.meta[ARGUMENTS] = tuple(args)
        ctx.meta[FILE] = ConfigFile()
        try:
            return super().parse_args(ctx, args)
        except click.BadParameter as error:
            # click would name the option, also where the value is that of its variable.
            option = error.param
            if option and ctx.get_parameter_source(str(option.name)) is ParameterSource.ENVIRONMENT:
                error.param_hint = f"'{option.envvar}'"
            raise

    def read_options(self, file: ConfigFile) -> Iterator[tuple[str, Any] | ConfigError]:
        """Options of a file as pairs of parameter name and value, with a `ConfigError` in place of each invalid one."""
        known = self.named_options()
        context = click.Context(self)
        for written, given in file.options.items():
            name = written.replace("_", "-")
            option = known.get(name)
            # One of those that can be repeated.
            value = [given] if option and option.multiple and isinstance(given, str) else given
            if is_section(value):
                yield file.error(_unknown_section(written), header=written)
            elif option is None:
                yield file.error(_unknown_option(name, written, known.keys()), written)
            elif name != written and name in file.options:
                yield file.error(f"{written} is set twice: also as {name}", written)
            elif kind := _wrong_kind(option, value):
                yield file.error(f"{written} must be {kind}, not {kind_of(value)}", written)
            elif reason := _wrong_value(option, value, context):
                yield file.error(f"{written}: {reason}", written)
            else:
                yield str(option.name), value

    def context_of(self, path: Path, file: ConfigFile, options: Mapping[str, Any]) -> click.Context:
        """Context with these options of a file, and only for others with the variables of the environment.

        Raises `click.ClickException` if a variable is wrong.
        """
        # The defaults say that no file has to be read, neither this one nor that of HOOKBOT_CONFIG.
        context = self.make_context(str(self.name), ["--config", str(path)], default_map={})
        context.meta[FILE] = file
        for option in self.named_options().values():
            if option.name in options:
                context.params[option.name] = option.type_cast_value(context, options[option.name])
                context.set_parameter_source(option.name, ParameterSource.DEFAULT_MAP)
        return context


def places_of(context: click.Context) -> Mapping[str, str]:
    """Places of the options that are set in the file or the environment: ``hookbot.toml:3: keep``, ``HOOKBOT_KEEP``."""
    assert isinstance(context.command, ConfiguredCommand), "only its options can be set elsewhere"
    file: ConfigFile = context.meta[FILE]
    written = {key.replace("_", "-"): key for key in file.options}
    places = {}
    for name, option in context.command.named_options().items():
        match context.get_parameter_source(str(option.name)):
            case ParameterSource.ENVIRONMENT:
                places[name] = str(option.envvar)
            case ParameterSource.DEFAULT_MAP:
                places[name] = f"{file.place(written[name])}: {written[name]}"
    return places


def read_file(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    """Make the options of the file the defaults of the command, as click's callback for ``--config``.

    Nothing is read if the command has defaults already. Raises `ConfigError` if the file cannot be read or parsed, or
    one with all mistakes in its options. Sections are not checked here.
    """
    if path is not None and ctx.default_map is None:
        assert isinstance(ctx.command, ConfiguredCommand), "`config_file` is an option of configured commands only"
        file = ctx.meta[FILE] = ConfigFile.read(path)
        read = list(ctx.command.read_options(file))
        if wrong := [str(one) for one in read if isinstance(one, ConfigError)]:
            raise ConfigError("\n".join(wrong))
        ctx.default_map = dict(one for one in read if not isinstance(one, ConfigError))
    return path


config_file = click.option(
    "--config",
    type=EXISTING_FILE,
    envvar="HOOKBOT_CONFIG",
    # Processed before the other options, because it sets their defaults.
    is_eager=True,
    expose_value=False,
    callback=read_file,
    metavar="FILE",
    help="Read options, sources and routers from this TOML file.",
)


def _unknown_section(written: str) -> str:
    sections = {
        "source": "[[sources]]",
        "router": "[routers.NAME]",
        "quota": '[quotas."TOPIC/"]',
        "budget": '[retention."TOPIC/"]',
        "alert": "[[alerts]]",
    }
    meant = sections.get(written.lower().rstrip("s"))
    what = f"did you mean {meant}?" if meant else "options stand at the beginning of the file, in no section"
    return f"there is no section {written!r}; {what}"


def _unknown_option(name: str, written: str, known: Collection[str]) -> str:
    lower = name.lower().removeprefix("hookbot-")
    variable = f"HOOKBOT_{lower.replace('-', '_').upper()}"
    close = f"the variable {variable} has it" if variable in OTHERS else did_you_mean(lower, known)
    return f"there is no option {written!r}{close and f'; {close}'}"


def _wrong_kind(option: click.Option, value: Any) -> str:
    """Kind of value that the option needs, or "" if `value` is of that kind; click would convert nearly anything."""
    if option.multiple:
        right = isinstance(value, list) and all(isinstance(one, str) for one in value)
        return "" if right else "a string or a list of strings"
    if option.is_flag:
        return "" if isinstance(value, bool) else "true or false"
    if isinstance(option.type, click.types.IntParamType):
        # Not isinstance: a bool is an int.
        return "" if type(value) is int else "an integer"
    numbers = (int, float) if option.type.name in ("duration", "size") else ()
    return "" if type(value) in (str, *numbers) else "a string"


def _wrong_value(option: click.Option, value: Any, context: click.Context) -> str:
    try:
        option.type_cast_value(context, value)
    except click.BadParameter as error:
        return error.message
    # Python's for a path with a NUL character, which a variable or an argument cannot have.
    except ValueError as error:
        return str(error)
    return ""
