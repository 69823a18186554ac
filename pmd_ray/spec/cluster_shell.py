"""Shell commands and Docker options of a cluster file, split into words as the machine would."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile

OPERATORS = ";&|()<>\n"
SUBSTITUTED = "$SUBSTITUTED"
"""Stands for what another command would put there: a check cannot know it, and it may hold operators of its own."""
SUBSTITUTION = re.compile(r"\$\(+[^()]*\)+|`[^`]*`")
ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
TALKERS = ("echo", "printf", ":")
"""Programs that do nothing with their words but say them."""
KEYWORDS = ("{", "}", "!", "if", "then", "else", "elif", "fi", "while", "do", "done")
SHELLS = ("sh", "bash", "zsh", "dash")
PLAIN_FLAGS = "ditPq"
"""One-letter options of `docker run` without a value; all others have one."""


@dataclass(frozen=True)
class Command:
    """One program's call."""

    words: tuple[str, ...]
    variables: Mapping[str, str]
    """What the text around it sets for it, and what it inherits."""

    @property
    def text(self) -> str:
        """Its words, without quotes and variables."""
        return " ".join(self.words)

    def after(self, *names: str) -> tuple[str, ...] | None:
        """The words that follow a program's name (and its verb), however it is wrapped: by sudo, a path, an `if`."""
        for place, word in enumerate(self.words):
            given = (word.rpartition("/")[2], *self.words[place + 1 : place + len(names)])
            if given == names:
                return self.words[place + len(names) :]
        return None

    @property
    def ray_start(self) -> tuple[str, ...] | None:
        """The options of `ray start`, None where Ray is not started."""
        options = self.after("ray", "start")
        return self.after("ray.scripts.scripts", "start") if options is None else options


def commands_of(text: str, inherited: Mapping[str, str] | None = None) -> list[Command]:
    """The programs that a command line calls; each sees what was exported before it, and what is written before it.

    Comments, and what is only said (`echo`), are left out.
    """
    return list(_walked(text, dict(inherited or {})))


def _walked(text: str, exported: dict[str, str]) -> Iterator[Command]:
    outer: list[dict[str, str]] = []
    for operators, words in _simple(text):
        for operator in operators:
            if operator == "(":
                outer.append(dict(exported))
            elif operator == ")" and outer:
                exported.clear()
                exported.update(outer.pop())
        while words and words[0] in KEYWORDS:
            words = words[1:]
        leading = list(takewhile(ASSIGNMENT.fullmatch, words))
        before, rest = _assigned(leading), words[len(leading) :]
        if not rest:
            # Without export, only what is exported already changes for the programs after it.
            exported.update({key: value for key, value in before.items() if key in exported})
        elif rest[0] == "export":
            exported.update(_assigned(rest[1:]))
        elif rest[0] == "unset":
            for name in rest[1:]:
                exported.pop(name, None)
        elif rest[0] not in TALKERS:
            yield from _called(rest, {**exported, **before})


def _called(words: list[str], variables: dict[str, str]) -> Iterator[Command]:
    # `env A=1 program`, `sudo -E A=1 program`: what is written before the program is for it too.
    if words[0].rpartition("/")[2] in ("env", "sudo"):
        variables |= _assigned(takewhile(lambda word: word[0:1] == "-" or ASSIGNMENT.fullmatch(word), words[1:]))
    inner = next((words[place + 1] for place in _scripts(words)), None)
    if inner is not None:
        yield from _walked(inner, variables)
    else:
        yield Command(tuple(words), variables)


def _scripts(words: list[str]) -> Iterator[int]:
    """Where `-c`, or `-lc`, of a shell stands before a script."""
    if any(word.rpartition("/")[2] in SHELLS for word in words):
        yield from (place for place, word in enumerate(words[:-1]) if re.fullmatch(r"-[a-z]*c", word))


def _assigned(words: Iterable[str]) -> dict[str, str]:
    return {match[1]: match[2] for match in map(ASSIGNMENT.fullmatch, words) if match}


def _simple(text: str) -> Iterator[tuple[str, list[str]]]:
    """The words of each program's call, with the operators before it.

    A word of operators alone counts as one, quoted or not (`find -exec ... ';'`): that splits a call too often, and
    what comes after it is still read.
    """
    words: list[str] = []
    operators, skip, comment = "", False, False
    for token in _tokens(text):
        if token and set(token) <= set(OPERATORS):
            if "\n" in token:
                comment = False
            if comment:
                continue
            if set(token) & set("<>"):
                skip = True  # a redirection's file
                continue
            if words:
                yield operators, words
                operators, words = "", []
            operators += token
        elif skip:
            skip = False
        elif comment or token.startswith("#"):
            comment = True
        else:
            words.append(token)
    if words or operators:
        yield operators, words


def _tokens(text: str) -> list[str]:
    text, before = text.replace("\\\n", ""), ""
    while text != before:
        before, text = text, SUBSTITUTION.sub(SUBSTITUTED, text)
    lexer = shlex.shlex(text, posix=True, punctuation_chars=OPERATORS)
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    try:
        return list(lexer)
    except ValueError:  # a quotation that does not end: the machine's shell refuses it as well
        return text.split()


def docker_options(items: Iterable[tuple[str, str]]) -> list[tuple[str, str, str]]:
    """The options of `docker run`, each with its place, name and value.

    Ray puts all items into one line: one may hold several options, or an option's value alone.
    """
    words = [(place, word) for place, text in items for word in _tokens(text)]
    found: list[tuple[str, str, str]] = []
    while words:
        place, word = words.pop(0)
        if word.startswith("--"):
            name, given, value = word.partition("=")
            if not given and words and not words[0][1].startswith("-"):
                value = words.pop(0)[1]
            found.append((place, name, value))
        elif word.startswith("-"):
            found += _short(place, word[1:], words)
    return found


def _short(place: str, letters: str, words: list[tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
    """`-it`, `-p8265:8265`, `-e NAME=VALUE`."""
    for number, letter in enumerate(letters):
        if letter in PLAIN_FLAGS:
            yield place, f"-{letter}", ""
        else:
            value = letters[number + 1 :].removeprefix("=")
            yield place, f"-{letter}", value or (words.pop(0)[1] if words else "")
            return


def option_values(words: Iterable[str], name: str) -> list[str]:
    """What a program's words give for an option, as `--name VALUE` or `--name=VALUE`; the last one holds."""
    given = list(words)
    found = []
    for place, word in enumerate(given):
        if word == name:
            found.append(given[place + 1] if place + 1 < len(given) else "")
        elif word.startswith(f"{name}="):
            found.append(word.partition("=")[2])
    return found
