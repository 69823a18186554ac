"""Commands and Docker options are split as a shell does."""

from __future__ import annotations

import shlex

from hypothesis import given
from hypothesis import strategies as st

from pmd_ray.spec.cluster_shell import OPERATORS, commands_of, docker_options, option_values

PLAIN = st.text(st.characters(codec="ascii", exclude_categories=["C"]), min_size=1).filter(
    lambda text: not set(text) & set("$`#=") and not set(text) <= set(OPERATORS)
)


@given(st.text())
def test_no_text_makes_it_fall_over(text: str) -> None:
    assert all(command.words for command in commands_of(text))
    docker_options([("place", text)])


@given(st.lists(PLAIN, min_size=1), PLAIN, st.sampled_from([";", "&&", "||", "|", "\n", " &", "; {", "\n(", "; if"]))
def test_quoted_words_stay_whole_and_variables_reach_what_follows(words: list[str], value: str, then: str) -> None:
    line = f"export NAME={shlex.quote(value)}{then} program {shlex.join(words)}"
    (command,) = commands_of(line)
    program = command.words[command.words.index("program") :]
    assert program == ("program", *words)
    assert command.variables == {"NAME": value}


@given(
    PLAIN.filter(lambda text: not text.startswith("-")),
    st.sampled_from(["-e N={}", "-eN={}", "--env N={}", "--env=N={}"]),
)
def test_an_option_is_read_however_it_is_written(value: str, form: str) -> None:
    quoted = form.replace("N={}", shlex.quote(f"N={value}"))
    (first, second) = docker_options([("a", f"--ulimit core=0 {quoted}")])
    assert first == ("a", "--ulimit", "core=0")
    assert second[1:] in (("-e", f"N={value}"), ("--env", f"N={value}"))


def test_the_value_of_an_option_may_stand_in_the_next_item() -> None:
    assert docker_options([("a", "-e"), ("b", "N=1")]) == [("a", "-e", "N=1")]


def test_what_another_command_says_is_one_word() -> None:
    (command,) = commands_of("ray start --a=$(x; y | z) --b `q (r)` --c $((1 + 2))")
    assert command.ray_start is not None
    assert option_values(command.words, "--c") == ["$SUBSTITUTED"]
    assert not set(OPERATORS) & set(command.text)
