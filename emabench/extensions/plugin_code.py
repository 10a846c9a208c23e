"""The code of a plugin: a Python file, or a module that can be imported."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import re
import stat
import sys
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Self

from emabench.errors import NotFoundError, PluginError
from emabench.user_paths import home_path

_MOST_BYTES = 2**20
_MOST_FILES = 5000
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_OVERWRITES = r"Overwriting (\w+) in registry"
"""How timm begins to say that a name is taken."""
_PREFIX = "emabench_plugin_"
"""Begins the names of modules that are made of files: none of an installed package begins so."""

_loaded: dict[tuple[str, str], types.ModuleType | PluginError] = {}
"""What each file, by its name and digest, or each module came to: a file may lie anywhere."""
_digests: dict[str, str] = {}
"""The digest of what was loaded last from each place."""
_backbones: set[str] = set()
"""Names that files registered with timm: a later state of a file may take them again, and which of
two files is meant is asked when the name is."""


@dataclass(frozen=True)
class PluginCode:
    """Where the code of a plugin lies.

    Attributes:
        place: absolute path of a file, or the full name of a module.
        is_file: which of the two.
    """

    place: str
    is_file: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``--plugin`` takes; nothing is loaded.

        Raises:
            NotFoundError: there is no such file or module.
            PluginError: it is something else.
        """
        if not text.endswith(".py"):
            code = cls(text, is_file=False)
            if not _MODULE.fullmatch(text) or code._spec() is None:
                raise NotFoundError(
                    f"there is no module {text} for --plugin",
                    hint="name a Python file, such as my_method.py, or a module that is installed",
                )
            return code
        path = home_path(text)
        try:
            status = path.stat()
        except OSError as error:
            raise NotFoundError(
                f"cannot read the plugin {text}: {error.strerror}",
                hint="--plugin takes the path of a Python file, or the name of a module",
            ) from None
        if not stat.S_ISREG(status.st_mode):
            raise PluginError(f"the plugin {text} is no regular file", hint="name a Python file")
        return cls(str(path.resolve()), is_file=True)

    def __str__(self) -> str:
        """What a message calls it: the name of the file without its folder, or the module."""
        return Path(self.place).name if self.is_file else self.place

    @property
    def stem(self) -> str:
        """The name of a method that it holds: that of the file, or the last one of the module."""
        return Path(self.place).stem if self.is_file else self.place.rpartition(".")[2]

    def digest(self) -> str:
        """Return 32 hex digits that identify the code as it lies there now.

        Of a file, and of a module that is one file, the bytes count; of a package all ``.py`` files
        and their places within it. Where it lies does not count, nor what else it imports.

        Raises:
            PluginError: it is gone, or too large.
        """
        if self.is_file:
            return _digest_of([("", _read(Path(self.place), self))])
        found = self._root()
        if found is None:
            raise PluginError(f"there is no module {self.place}", hint="install its package")
        if found.is_file():
            return _digest_of([("", _read(found, self))])
        files = sorted(path for path in found.rglob("*.py") if path.is_file())
        if len(files) > _MOST_FILES:
            raise PluginError(
                f"plugin {self}: its package has {len(files)} files of Python",
                hint="put the plugin into a package of its own",
            )
        return _digest_of((f.relative_to(found).as_posix(), _read(f, self)) for f in files)

    def load(self) -> tuple[types.ModuleType, str]:
        """Return the module and the digest of what was loaded; each content is loaded once.

        What it prints goes to stderr. A backbone that it registers may not take the place of
        another one.

        Raises:
            PluginError: it cannot be loaded.
        """
        digest = self.digest()
        if not self.is_file and _digests.get(self.place, digest) != digest:
            raise PluginError(
                f"plugin {self} was changed after it was imported", hint="start Python again"
            )
        key = (self.stem if self.is_file else self.place, digest)
        if key not in _loaded:
            try:
                with contextlib.redirect_stdout(sys.stderr), _names_kept():
                    _loaded[key] = self._executed(digest) if self.is_file else self._imported()
            except (Exception, SystemExit) as error:
                _loaded[key] = self._broken(error)
        _digests[self.place] = digest
        found = _loaded[key]
        if isinstance(found, PluginError):
            raise found
        return found, digest

    def _executed(self, digest: str) -> types.ModuleType:
        """Run the very bytes whose digest this is: a cache of byte code may hold earlier ones."""
        source = _read(Path(self.place), self)
        if _digest_of([("", source)]) != digest:
            raise ImportError("it was changed while it was read")
        name = f"{_PREFIX}{digest[:16]}_{re.sub(r'[^0-9A-Za-z_]', '_', self.stem)}"
        module = types.ModuleType(name)
        module.__file__ = self.place
        sys.modules[name] = module
        try:
            exec(compile(source, self.place, "exec"), vars(module))
        except BaseException as error:
            del sys.modules[name]
            _backbones.update(_registered(module) - {_overwritten(error)})
            raise
        _backbones.update(_registered(module))
        return module

    def _imported(self) -> types.ModuleType:
        importlib.invalidate_caches()
        return importlib.import_module(self.place)

    def _broken(self, error: BaseException) -> PluginError:
        lines = str(error).splitlines()
        reason = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
        if taken := _overwritten(error):
            return PluginError(
                f"plugin {self} registers the backbone {taken}, which exists",
                hint="give its function another name",
            )
        return PluginError(
            f"plugin {self} cannot be loaded: {reason}", hint="mend it, or leave it out"
        )

    def _spec(self) -> ModuleSpec | None:
        try:
            return importlib.util.find_spec(self.place.partition(".")[0])
        except (ImportError, ValueError):
            return None

    def _root(self) -> Path | None:
        """Return the file, or the folder of the package, that the code belongs to.

        Nothing is imported to find it. A namespace is no package: those of others are in it too.
        """
        first, *rest = self.place.split(".")
        spec, name = self._spec(), first
        while spec is not None:
            folders = spec.submodule_search_locations
            if spec.origin is not None and spec.has_location:
                file = Path(spec.origin)
                return file.parent if folders is not None else file
            if folders is None or not rest:
                return None
            name = f"{name}.{rest.pop(0)}"
            spec = PathFinder.find_spec(name, list(folders))
        return None


def _read(path: Path, code: PluginCode) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise PluginError(f"plugin {code}: {path.name} is no regular file")
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise PluginError(
            f"cannot read the plugin {code}: {error.strerror}", hint="is it still there?"
        ) from None
    if len(content) > _MOST_BYTES:
        raise PluginError(f"plugin {code}: {path.name} has more than {_MOST_BYTES:,} bytes")
    return content


def _digest_of(files: Iterator[tuple[str, bytes]] | list[tuple[str, bytes]]) -> str:
    digest = hashlib.sha256()
    for name, content in files:
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:32]


@contextlib.contextmanager
def _names_kept() -> Iterator[None]:
    """Let timm, which only warns of it, refuse a backbone of the name of another one."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", _OVERWRITES, UserWarning)
        for name in _backbones:
            warnings.filterwarnings("ignore", f"Overwriting {re.escape(name)} in", UserWarning)
        yield


def _registered(module: types.ModuleType) -> set[str]:
    """Return the names that timm added to a module, and what else it exports."""
    return set(map(str, vars(module).get("__all__", ())))


def _overwritten(error: BaseException) -> str:
    """Return the name of the backbone whose place timm was asked to give away, or nothing."""
    found = re.match(_OVERWRITES, str(error))
    return found[1] if found and isinstance(error, UserWarning) else ""
