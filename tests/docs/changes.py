# ruff: noqa: E501 - a table
"""How shown commands differ from executed ones: one table, each line with its reason.

Everything that is not in the table runs word for word, in an environment that makes runs small
(``place.SMALL``). All lines that match a command apply, in their order. One that matches none fails.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Change:
    """What is different about some commands.

    Args:
        pattern: a regular expression, found somewhere in ``PAGE: COMMAND``.
        reason: why.
        replace: a regular expression in the command, and what stands in its place.
        append: words at the end; the last of several values of an option counts.
        codes: exit codes that the page allows.
        elsewhere: where the command is executed in place of here, or why nowhere.
        until: words of its output after which Ctrl-C is pressed, on which it exits with 130.
        answer: what is typed at its question, on a terminal.
    """

    pattern: str
    reason: str
    replace: tuple[str, str] | None = None
    append: str = ""
    codes: tuple[int, ...] = ()
    elsewhere: str = ""
    until: str = ""
    answer: str = ""


CI = "executed by .ci/run"
EXTERNAL = "executed by test_external_commands.py"
CHANGES = (
    # Placeholders.
    Change(r"rm 3fa9 77c1", "the line before has removed the first", (r"3fa9", "@last")),
    Change(r"\b(3fa9|3f2a|RUN)\b", "the id of a run of the reader", (r"\b(3fa9|3f2a|RUN)\b", "FIRST")),
    Change(r"\b(77c1|81c2)\b", "the id of another run", (r"\b(77c1|81c2)\b", "SECOND")),
    Change(r"README\.md: emabench (eval|weights) @last", "what was queued before is not finished", (r"@last", "FIRST")),
    Change(r"run .*--name monday", "a run that exists keeps its name", append="--lr 0.01"),
    Change(r"--data-dir PATH", "any tree of images", (r"PATH", "images")),
    Change(r"emabench correlate .*--study", "one that the store has", (r"--study \S+", "--study which-block")),
    Change(r"rename .*--name first-try", "a name that the store has", (r"--name first-try", "--name night")),
    Change(r"rm --where state=failed", "nothing has failed", (r"state=failed.*", "method=moco")),
    Change(r"methods NAME", "any method", (r"NAME", "moco")),
    Change(r"backbones NAME", "any backbone", (r"NAME", "resnet18")),
    Change(r"--search TEXT", "any text", (r"TEXT", "convnext")),
    Change(
        r"\$SAME", "two variables that the page spells out",
        (r"\$SAME", "--dataset folder --data-dir cifar10-jpeg --set threads=1"),
    ),
    Change(r"--seed 0,1 …", "the rest of $SAME stands above it", (r" …", "")),
    # Sizes.
    Change(r"--seed 0\.\.", "one seed stands for all", (r"--seed 0\.\.\d", "--seed 0..0")),
    Change(r"--epochs [1-9]", "hours", append="--epochs 2"),
    Change(r"run .*--keep checkpoints", "a run that exists leaves no checkpoint", append="--lr 0.01"),
    Change(r"--extend", "more than the epochs of the others", append="--epochs 3"),
    Change(r"--data-dir photos", "no test images to take some of", append="--set data.test_subset=null"),
    Change(
        r"emabench (plot )?stability(?!.*(--quantity grad_(?!norm_cv)|--db))", "epochs of ten steps have no coefficient of variation",
        append="--quantity grad_norm",
    ),
    Change(r"emabench (run|queue).*--train-subset \d", "hours", append="--train-subset 200"),
    Change(r"emabench (run|queue|bench).*--batch-size", "few images", append="--batch-size 8"),
    Change(r"emabench eval (?!backbone)", "settings of runs are none of its", append="--train-subset 200 --test-subset 100"),
    Change(r"emabench bench", "a minute each", append="--preset smoke --steps 4"),
    Change(r"(cli|costs|ten-minutes)\.md: emabench bench", "README's takes all scopes", append="--ema-scope projector"),
    Change(r"emabench bench.*--image-size 224", "minutes", append="--backbone resnet18 --image-size 32 --batch-size 16"),
    Change(r"studies run .*--budget (cpu|gpu)", "hours: it queues all, and that works on few", append="--seed 0"),
    Change(r"studies run .*--until", "five seeds or more of every arm", elsewhere="executed by tests/integration/test_settled_study.py"),
    Change(r"findings\.md: emabench queue", "the page works on all that it queues", append="--seed 0 --ema-scope projector"),
    Change(r"monitors\.py", "a minute", append="--pairs 4"),
    Change(r"augmentation\.py", "minutes", append="--rounds 2 --images 64"),
    # What this machine lacks.
    Change(r"^(?!.*emabench published).*((--dataset|dataset=) ?cifar|also=\[cifar)", "needs a download", (r"cifar100?\b", "fashion-mini")),
    Change(r"run --preset cifar10", "needs a download", append="--dataset fashion-mini --set method.options.hidden_dim=64 --train-subset 40 --test-subset 40"),
    Change(r"--init timm", "asks the hub", elsewhere="nowhere: tests/unit/training/test_given_weights.py has a hub of its own"),
    Change(r"stl10-unlabelled", "needs a download", (r"--preset stl10 .*", "--dataset folder --data-dir photos --set data.test_subset=null --set evaluation.enabled=false")),
    Change(r"--dataset hf", "needs pyarrow", elsewhere="nowhere: tests/unit/data/test_hugging_face.py loads such files"),
    Change(r"studies run .*batch_size=512", "a batch of as many images", append="--train-subset 600"),
    Change(r"studies run .*--budget gpu", "needs a download", append="--dataset fashion-mini --dry-run"),
    Change(r"--device cuda", "needs a GPU", (r"cuda:\d(,cuda:\d)?", "cpu")),
    Change(
        r"--devices 2", "two processes on a CPU, which refuses BatchNorm there",
        append="--device cpu --backbone vit_tiny_patch16_224 --image-size 32 --set precision=fp32"
        " --set 'backbone.options={embed_dim: 32, depth: 3, num_heads: 2}'",
    ),
    Change(r"--method moco,byol.*--devices 2", "BYOL has BatchNorm; each run takes long", (r"moco,byol .*,full", "moco --ema-scope projector")),
    Change(r"--engine slurm", "needs Slurm: without one it says so", codes=(0, 1)),
    Change(r"--engine ray", "takes a Ray of its own a minute to start", elsewhere=EXTERNAL),
    Change(r"s3://bucket", "needs an object store", (r"s3://bucket/night", "results-artifacts")),
    Change(r"--db postgresql://user@host", "needs a server", elsewhere=EXTERNAL),
    Change(r"postgresql\.md: (export|emabench)", "needs a server", elsewhere=EXTERNAL),
    Change(r"/shared/", "a folder that all machines share", (r"/shared/\w+", "shared")),
    Change(r"createuser", "asks an administrator for a password", elsewhere="nowhere: it is PostgreSQL's"),
    Change(r"createdb", "makes the database that the external test has from its fixture", elsewhere="nowhere: it is PostgreSQL's"),
    Change(r"\| ssh host", "needs another machine", (r"ssh host ", "")),
    Change(r"ssh -L", "needs another machine", elsewhere="nowhere: it is ssh's"),
    Change(r"git checkout", "the folder has one version", elsewhere="nowhere: it is git's"),
    # Environments.
    Change(r"python -m venv", "makes a new environment", elsewhere=CI),
    Change(r"(^|: )(\.venv/bin/)?pip install|\.venv/bin/ruff", "changes the environment", elsewhere=CI),
    Change(r"lint-imports", "of the development environment", elsewhere=CI),
    Change(r"scrub part\.db -o public", "the page has made that file before", append="--force"),
    Change(r"sphinx-build -W", "of a checkout", elsewhere=CI),
    Change(r"docs/generate\.py", "writes into the checkout", elsewhere="executed by test_generated_reference.py, which writes nothing"),
    Change(r"--install-completion", "writes into the files of a shell", elsewhere="nowhere: it is typer's"),
    Change(r"-b linkcheck", "needs the internet", elsewhere="nowhere: index.md says how"),
    Change(r"tensorboard --logdir|mlflow server", "serves until Ctrl-C", elsewhere="nowhere: it is the tracker's"),
    Change(r"wandb sync", "needs an account", elsewhere="nowhere: it is W&B's"),
    Change(r"strings public\.db", "a reader's pager", (r"strings public\.db \| less", "test -s public.db")),
    Change(r"emabench export .*-o runs", "the bundle that other pages import is there", append="--force"),
    Change(r"emabench db backup -o monday", "two pages make that file", append="--force"),
    # Outcomes.
    Change(r"--fail-if", "a gate holds or does not", codes=(0, 5)),
    Change(r"compare --fail-if$", "an option named without its value", codes=(2,)),
    # Commands that go on for ever, and those that ask.
    Change(r"emabench dashboard", "serves until Ctrl-C, and says where on stdout as JSON only", append="--port 0 --json", until="http://"),
    Change(r"emabench work(?!.*--idle-exit)", "works until Ctrl-C, or so many jobs", append="--idle-exit"),
    Change(r"emabench rm (?!.*--yes)", "asks first", answer="y"),
)  # fmt: skip
