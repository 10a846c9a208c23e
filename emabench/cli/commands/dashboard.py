"""``emabench dashboard``: the report of the live store, in a browser."""

from __future__ import annotations

from typing import Annotated

import typer

from emabench.cli.options.output_forms import JsonOption
from emabench.cli.options.question_flags import (
    BaselineOption,
    ByOption,
    MarginOption,
    MetricsOption,
)
from emabench.cli.options.run_choice import (
    DEFAULT_DB,
    DbOption,
    NameOption,
    SmokeOption,
    StudyOption,
    WhereOption,
    run_query,
)
from emabench.cli.show.pages import PageQuestion

PANEL = "Read"


def command(
    port: Annotated[
        int,
        typer.Option("--port", min=0, max=65535, metavar="N", help="Port; 0 takes a free one."),
    ] = 8765,
    host: Annotated[
        str,
        typer.Option(
            "--host",
            metavar="ADDRESS",
            help="Address to listen on; any but this machine's own needs a token.",
        ),
    ] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="EMABENCH_TOKEN",
            metavar="TEXT",
            help="Secret that visitors need: the address ends in /?token=TEXT.",
        ),
    ] = None,
    interval: Annotated[
        float,
        typer.Option(
            "--interval", min=0.5, metavar="SECONDS", help="Time between two updates of the page."
        ),
    ] = 5.0,
    metric: MetricsOption = None,
    by: ByOption = None,
    baseline: BaselineOption = None,
    margin: MarginOption = None,
    where: WhereOption = None,
    name: NameOption = None,
    study: StudyOption = None,
    smoke: SmokeOption = False,
    json: JsonOption = False,
    db: DbOption = DEFAULT_DB,
) -> None:
    """Serve the report of the live store to a browser until Ctrl-C; reads only.

    The page updates while workers run. Only this machine can open it, unless --host says
    otherwise; then visitors need a token.

    Examples:
        emabench dashboard
        emabench dashboard --study projector-vs-full --port 0
        EMABENCH_TOKEN=$(openssl rand -hex 16) emabench dashboard --host 0.0.0.0
    """
    import json as json_module
    import signal

    from emabench.analysis.question import Asked
    from emabench.cli.app.console import err
    from emabench.cli.show.watch import leave
    from emabench.report.page.server import Dashboard, PageSource, check_access
    from emabench.store import store_label

    check_access(host, token)
    query = run_query(where, name=name, study=study, smoke=smoke)
    asked = Asked(metric, by, baseline, tuple(margin or ()))
    question = PageQuestion(asked, query, db)
    source = PageSource(lambda: question.page(live=True), interval)
    source.page()  # a store that is not there is an error now, not in the browser
    with Dashboard(source, host, port, token) as dashboard:
        if json:
            typer.echo(json_module.dumps({"schema_version": 1, "url": dashboard.url}))
        ending = "" if token is None else "?token=…"
        err().print(f"{store_label(db)} is at {dashboard.url}{ending}; Ctrl-C stops it")
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            dashboard.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            leave()
