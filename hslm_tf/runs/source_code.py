"""Which source code of this package runs."""

import hashlib
import importlib.util
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

_PACKAGES = ("hslm_tf", "hslm_tf.layers", "hslm_tf.training")
_GIT_SECONDS = 3


@dataclass(frozen=True)
class SourceCode:
    """The state of the package's own source files.

    Args:
        sha256: hash of all of them; the same for a checkout and the wheel built from it.
        commit: the commit in git, where they lie in a work tree of it; None elsewhere.
        modified: whether they differ from that commit; None without one.
    """

    sha256: str
    commit: str | None = None
    modified: bool | None = None

    @classmethod
    def now(cls) -> "SourceCode":
        """Hashes the files and asks git, which need not be there.

        Returns:
            The state.
        """
        folders = _folders()
        files = {
            f"{package.replace('.', '/')}/{file.relative_to(folder).as_posix()}": file
            for package, folder in folders.items()
            for file in folder.rglob("*.py")
        }
        digest = hashlib.sha256()
        for name, file in sorted(files.items()):
            for content in (name.encode(), file.read_bytes()):
                digest.update(len(content).to_bytes(8, "little") + content)
        return cls(digest.hexdigest(), *_git_state(list(folders.values())))

    def __str__(self) -> str:
        if self.commit is None:
            return "no commit"
        return f"commit {self.commit[:10]}" + (" with changes" if self.modified else "")

    def difference(self, earlier: "SourceCode") -> str | None:
        """Says how the code is not what it was.

        Args:
            earlier: its state then.

        Returns:
            The difference; None if the files are the same, whatever git says.
        """
        if self.sha256 == earlier.sha256:
            return None
        commits = "" if str(self) == str(earlier) else f" ({self} instead of {earlier})"
        return f"other source files of hslm_tf{commits}"


def _folders() -> dict[str, Path]:
    specs = {package: importlib.util.find_spec(package) for package in _PACKAGES}
    return {name: Path(spec.origin).parent for name, spec in specs.items()}


def _git_state(folders: list[Path]) -> tuple[str | None, bool | None]:
    # A package that is installed below a work tree, as in its .venv, does not belong to it.
    if _git(folders[0], "ls-files", "--error-unmatch", "--", "__init__.py") is None:
        return None, None
    status = _git(
        *(folders[0], "status", "--porcelain=v2", "--branch", "--untracked-files=normal", "--"),
        *map(str, folders),
    )
    if status is None:
        return None, None
    lines = status.splitlines()
    commit = next(line.split()[-1] for line in lines if line.startswith("# branch.oid "))
    return commit, not all(line.startswith("#") for line in lines)


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints; None where it is missing, fails or takes too long."""
    # These would name another work tree. The index is not written: others may be using it.
    others = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
    environment = {name: value for name, value in os.environ.items() if name not in others}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_LITERAL_PATHSPECS": "1"}
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments],
            check=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env=environment,
            encoding="utf-8",
            errors="replace",
            timeout=_GIT_SECONDS,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
