"""Say what to do next. Writes nothing, so it may run again in any update."""

import json

ANSWERS = json.loads(r"""{{ cookiecutter | tojson }}""")

print(
    f"""
{ANSWERS["project_slug"]} is yours. Try it:

    cd {ANSWERS["project_slug"]}
    uv run python examples/ask.py    # asks a small database and shows the logs
    uv run pytest                    # proves that it works here

README.md says how to wire it in, and how to do all this without uv.
"""
)
