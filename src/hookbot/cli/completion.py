"""Completion by shells: the scripts that ask for it, and what they are told.

They are those of click, but each shell gives the line up to the cursor, and gets whole words. So a word may have a
colon, at which bash begins another one, or a comma, at which fish would lose the rest; and a value may stand behind its
option and a ``=``.
"""

import os
import re
from typing import Any

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    split_arg_string,
)

_OPTION = re.compile(r"--?[\w-]+=")

# What bash replaces, "$2", is only the end of the word.
_BASH = """\
%(complete_func)s() {
    local line=${COMP_LINE:0:COMP_POINT} type value
    local word=${line##*[[:space:]]}
    COMPREPLY=()
    while IFS=$'\\t' read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("${value#"${word%%"$2"}"}") ;;
        esac
    done < <(env COMP_WORDS="$line" %(complete_var)s=bash_complete %(prog_name)s)
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""
_ZSH = """\
#compdef %(prog_name)s

%(complete_func)s() {
    local line="${(j: :)words[1,CURRENT-1]} $PREFIX" type value paths
    local -a items
    while IFS=$'\\t' read -r type value; do
        case $type in
            dir) paths=/ ;;
            file) paths=f ;;
            plain) items+=("$value") ;;
        esac
    done < <(env COMP_WORDS="$line" %(complete_var)s=zsh_complete %(prog_name)s)
    if [[ -n $paths ]]; then
        compset -P 1 '-*='
        _path_files -$paths
    elif (( $#items )); then
        _describe -V %(prog_name)s items
    fi
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""
_FISH = """\
function %(complete_func)s
    set -l line (commandline -cp | string collect)
    set -l option (commandline -ct | string match -r -- '^-[^=]*=')
    set -l word (commandline -ct | string replace -r -- '^-[^=]*=' '')
    for item in (env COMP_WORDS="$line" %(complete_var)s=fish_complete %(prog_name)s)
        set -l parts (string split -m 1 \\t -- $item)
        switch $parts[1]
            case dir
                printf '%%s\\n' "$option"(__fish_complete_directories "$word")
            case file
                printf '%%s\\n' "$option"(__fish_complete_path "$word")
            case plain
                printf '%%s\\n' $parts[2]
        end
    end
end

complete --no-files --command %(prog_name)s --arguments '(%(complete_func)s)'
"""


class _OfLine(ShellComplete):
    """Completion of the last word of a line, by whole words."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Words before the one that is begun, without the name of the program, and that one."""
        line = os.environ["COMP_WORDS"]
        words = split_arg_string(line)
        incomplete = words.pop() if words and not line[-1].isspace() else ""
        # What fish gives begins with the variables that are set for the command.
        while words and "=" in words[0]:
            del words[0]
        option = _OPTION.match(incomplete)
        self._option = option[0] if option else ""
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem[Any]) -> str:
        return f"{item.type}\t{self.described(self._option + item.value, ' '.join((item.help or '').split()))}"

    def described(self, word: str, help: str) -> str:
        """The word, with its help as the shell shows it."""
        return word


@add_completion_class
class _Bash(_OfLine, BashComplete):
    source_template = _BASH


@add_completion_class
class _Zsh(_OfLine, ZshComplete):
    source_template = _ZSH

    def described(self, word: str, help: str) -> str:
        word = word.replace("\\", r"\\").replace(":", r"\:")
        return f"{word}:{help}" if help else word


@add_completion_class
class _Fish(_OfLine, FishComplete):
    source_template = _FISH

    def described(self, word: str, help: str) -> str:
        return f"{word}\t{help}" if help else word
