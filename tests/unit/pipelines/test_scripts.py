"""Scripts: no value of an expression can become script text, shown with real shells."""

from __future__ import annotations

import os
import shutil
import subprocess
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gamenode_pipelines import expressions
from gamenode_pipelines.scripts import MAX_SCRIPT, Quoting, compile_argv, compile_script, quoting

SHELLS = [shell for shell in ("sh", "bash") if shutil.which(shell)]


HOSTILE = ["$(touch HACKED)", "`id`", '"; id; "', "'; id; '", "a\nb", "$HOME", "\\", "*", "-n x", "é"]


def run(shell: str, text: str, value: str) -> str:
    """What a compiled script prints when every expression has this value."""
    compiled = compile_script(shell, text)
    assert not [problem for problem in compiled.problems if not problem.warning]
    variables = dict.fromkeys(compiled.script.bindings, value)
    command = [shell, "-e", "-c", compiled.script.text]
    done = subprocess.run(command, env={"PATH": os.environ["PATH"], **variables}, capture_output=True, check=True)
    return done.stdout.decode()


def test_an_expression_becomes_a_reference() -> None:
    compiled = compile_script("sh", 'echo "${{ params.a }}" "${{ node.name }}" "${{params.a}}" ${#x}')
    assert compiled.script.text == 'echo "${GAMENODE_EXPR_1}" "${GAMENODE_EXPR_2}" "${GAMENODE_EXPR_1}" ${#x}'
    assert compiled.script.bindings == {"GAMENODE_EXPR_1": "params.a", "GAMENODE_EXPR_2": "node.name"}
    assert compiled.problems == ()


def test_a_script_without_expressions_is_untouched() -> None:
    text = "echo '${X}' $(date) {{ }} {% %} {# #}\n"
    compiled = compile_script("bash", text)
    assert (compiled.script.text, compiled.script.bindings, compiled.problems) == (text, {}, ())


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "value", ["$(touch HACKED)", "`id`", '"; id; "', "'; id; '", "a\nb", "$HOME", "\\", "*", "-n x", "é"]
)
@pytest.mark.parametrize(
    "script",
    [
        'printf %s "${{ x }}"',
        'X=${{ x }}\nprintf %s "$X"',
        "cat <<EOF\n${{ x }}\nEOF",
        "cat <<-EOF\n\t${{ x }}\n\tEOF",
        'printf %s "$(printf %s "${{ x }}")"',
        'printf %s "${nothing:-${{ x }}}"',
        '# it\'s\nprintf %s "${{ x }}"',
    ],
)
def test_a_value_is_only_a_value(shell: str, script: str, value: str) -> None:
    expected = value if "cat" not in script else value + "\n"
    assert run(shell, script, value) == expected


@pytest.mark.parametrize("shell", SHELLS)
@settings(max_examples=25, deadline=None)
@given(value=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40))
def test_any_value_comes_out_as_it_went_in(shell: str, value: str) -> None:
    assert run(shell, 'printf %s "${{ x }}"', value) == value


#: Scripts with one expression each, and how a shell reads it there. `M` stands for the expression.
PLACES = [
    ('echo "M"', Quoting.DOUBLE),
    ("echo M", Quoting.PLAIN),
    ("echo 'M'", Quoting.SINGLE),
    ("echo $'it\\'s M'", Quoting.SINGLE),
    ('echo "it\'s M"', Quoting.DOUBLE),
    ("echo 'a'\"b M\"'c'", Quoting.DOUBLE),
    ("echo \\'M", Quoting.PLAIN),
    ("# don't\necho M", Quoting.PLAIN),
    ("echo a#b 'M'", Quoting.SINGLE),
    ("echo ok # M", Quoting.COMMENT),
    ("echo $# ${#x} M", Quoting.PLAIN),
    ("echo \"$(echo 'M')\"", Quoting.SINGLE),
    ('echo "$(echo M)"', Quoting.PLAIN),
    ("echo \"`echo 'M'`\"", Quoting.SINGLE),
    ("echo \"${x:-'M'}\"", Quoting.DOUBLE),
    ("echo ${x:-'M'}", Quoting.SINGLE),
    ("echo $((1 + M))", Quoting.ARITHMETIC),
    ("echo $(( (1) + M ))", Quoting.ARITHMETIC),
    ('echo "$((1 + M))"', Quoting.ARITHMETIC),
    ("((x = M))", Quoting.ARITHMETIC),
    ("echo $((1)) M", Quoting.PLAIN),
    ("cat <<EOF\nit's M\nEOF", Quoting.HEREDOC),
    ("cat <<EOF\n$((M))\nEOF", Quoting.ARITHMETIC),
    ("cat <<'EOF'\nM\nEOF", Quoting.QUOTED_HEREDOC),
    ('cat <<"EOF"\nM\nEOF', Quoting.QUOTED_HEREDOC),
    ("cat <<\\EOF\nM\nEOF", Quoting.QUOTED_HEREDOC),
    ("cat <<-'EOF' | grep x\n\tM\n\tEOF", Quoting.QUOTED_HEREDOC),
    ("cat <<A <<'B'\nx\nA\nM\nB", Quoting.QUOTED_HEREDOC),
    ("cat <<EOF\nit's\nEOF\necho 'M'", Quoting.SINGLE),
    ("cat <<<'it' M", Quoting.PLAIN),
    ("case x in a) echo 'M';; esac", Quoting.SINGLE),
    ("echo '${{ y[\"'\"] }}M'", Quoting.SINGLE),
]


@pytest.mark.parametrize(("script", "place"), PLACES)
def test_the_quoting_of_a_place_is_known(script: str, place: Quoting) -> None:
    text = script.replace("M", "${{ params.x }}")
    places, whole = quoting(text, expressions.find(text))
    assert places[-1] is place
    assert whole


#: Those that print where they stand, whatever the value is.
PRINTING = [case for case in PLACES if not any(part in case[0] for part in ("((", "y[", "grep", "case", "<<<"))]


@pytest.mark.skipif("bash" not in SHELLS, reason="needs bash")
@pytest.mark.parametrize(("script", "place"), PRINTING)
def test_bash_agrees_about_what_is_expanded(script: str, place: Quoting) -> None:
    variables = {"PATH": os.environ["PATH"], "VALUE": "expanded"}
    done = subprocess.run(
        ["bash", "-c", script.replace("M", "${VALUE}")], env=variables, capture_output=True, timeout=10
    )
    assert (b"${VALUE}" in done.stdout) is (place in (Quoting.SINGLE, Quoting.QUOTED_HEREDOC))


@pytest.mark.parametrize(
    ("shell", "text", "words"),
    [
        ("sh", "echo '${{ x }}'", "use double quotes"),
        ("sh", "cat <<'E'\n${{ x }}\nE", "whose delimiter is quoted"),
        ("bash", "echo $((${{ x }} + 1))", "do the sum in the expression"),
        ("python", "print('${{ x }}')", "use env:"),
        ("sh", "echo \\${{ x }}", "changes its meaning"),
        ("sh", "echo $${{ x }}", "changes its meaning"),
        ("sh", "echo ${{ x", "no }}"),
        ("sh", "x" * (MAX_SCRIPT + 1), "bytes"),
        ("sh", "${{ x }}" * 201, "201 expressions"),
    ],
)
def test_what_cannot_work_is_an_error(shell: str, text: str, words: str) -> None:
    errors = [problem.message for problem in compile_script(shell, text).problems if not problem.warning]
    assert len(errors) == 1
    assert words in errors[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("echo ${{ x }}", "splits the value"),
        ('bash -c "echo ${{ x }}"', "second shell"),
        ('ssh host "echo ${{ x }}"', "second shell"),
        ('eval "x=${{ x }}"', "second shell"),
        ('[[ "${{ x }}" -gt 3 ]]', "as a sum"),
        ('let "x=${{ x }}"', "as a sum"),
        ("echo 'open ${{ x }}", "use double quotes"),
    ],
)
def test_what_is_risky_is_a_warning(text: str, words: str) -> None:
    problems = compile_script("bash", text).problems
    assert [words in problem.message for problem in problems] == [True]
    assert problems[0].warning


@pytest.mark.parametrize(
    "text",
    [
        'X="${{ x }}"',
        "X=${{ x }}",
        "export X=a/${{ x }}${{ y }}",
        "case ${{ x }} in a) ;; esac",
        "[[ ${{ x }} == a ]]",
        "# ${{ x }}",
    ],
)
def test_what_is_fine_is_left_alone(text: str) -> None:
    assert compile_script("bash", text).problems == ()


def test_a_command_without_a_shell_keeps_its_arguments() -> None:
    compiled = compile_argv(["ls", "${{ x }}", "a ${{ y"])
    assert compiled.script.argv == ("ls", "${{ x }}", "a ${{ y")
    assert compiled.script.shell == "none"
    assert [(problem.item, problem.unclosed) for problem in compiled.problems] == [(2, True)]


@pytest.mark.parametrize("filler", ["'", '"', "$(", "`", "((", "#", "\n", "<<A\n", "<<A ", "\\", "${", "(["])
def test_no_script_takes_long(filler: str) -> None:
    text = filler * (120_000 // len(filler)) + "${{ x }}"
    started = time.process_time()
    compile_script("bash", text)
    assert time.process_time() - started < 0.8
